/**
 * The shape of src, tests apart. Files that import each other in a circle, types included, cannot be understood one after the other: a new
 * circle is exit code 1. With --long also files and folders that have more than a reader takes in at once, which is no error.
 */

import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'

const root = join(import.meta.dirname, '..')
const mostLines = 300
const mostFiles = 15

/** Files that are in circles still. One that is out of them is to be taken from here, and none may come. */
const inCircles: ReadonlySet<string> = new Set([
  'src/envoy/protocols/grpc.ts',
  'src/envoy/protocols/http.ts',
  'src/envoy/protocols/httproutes.ts',
  'src/envoy/protocols/protocol.ts',
  'src/envoy/protocols/tcp.ts',
  'src/kernel/affinity.ts',
  'src/kernel/clientaddress.ts',
  'src/kernel/elements.ts',
  'src/kernel/external.ts',
  'src/kernel/nftables/bytes.ts',
  'src/kernel/nftables/client.ts',
  'src/kernel/nftables/operations.ts',
  'src/kernel/nftables/rules/expression.ts',
  'src/kernel/nftables/rules/print.ts',
  'src/kernel/nftables/snapshot.ts',
  'src/kernel/reading.ts',
  'src/kernel/ruleset.ts',
  'src/kernel/sources.ts',
])

const files = readdirSync(join(root, 'src'), { recursive: true, withFileTypes: true })
  .filter(entry => entry.isFile() && entry.name.endsWith('.ts'))
  .map(entry => relative(root, join(entry.parentPath, entry.name)))
  .filter(file => !file.startsWith('src/envoy/api/') && !file.endsWith('.test.ts'))
  .sort()

const texts = new Map(files.map(file => [file, readFileSync(join(root, file), 'utf8')]))
const imports = new Map([...texts].map(([file, text]) => [file, importsOf(file, text)]))

function importsOf(file: string, text: string): readonly string[] {
  const found = text.matchAll(/(?:\bfrom |\bimport\(|^import )'(\.[^']+|#src\/[^']+)'/gm)
  const paths = [...found].map(([, path]) => (path!.startsWith('#src/') ? path!.slice(1) : join(dirname(file), path!)))
  return [...new Set(paths)].filter(path => texts.has(path))
}

/** Tarjan's strongly connected components, of more than one file. */
function circles(): readonly (readonly string[])[] {
  const index = new Map<string, number>()
  const low = new Map<string, number>()
  const stack: string[] = []
  const found: string[][] = []
  const visit = (file: string) => {
    index.set(file, index.size)
    low.set(file, index.get(file)!)
    stack.push(file)
    for (const next of imports.get(file)!) {
      if (!index.has(next)) visit(next)
      if (stack.includes(next)) low.set(file, Math.min(low.get(file)!, low.get(next)!))
    }
    if (low.get(file) !== index.get(file)) return
    const circle = stack.splice(stack.indexOf(file))
    if (circle.length > 1) found.push(circle.sort())
  }
  for (const file of files) if (!index.has(file)) visit(file)
  return found
}

const found = circles()
const fresh = found.filter(circle => circle.some(file => !inCircles.has(file)))
for (const circle of fresh) console.error(`imports in a circle: ${circle.join(', ')}`)
const mended = [...inCircles].filter(file => !found.flat().includes(file))
for (const file of mended) console.error(`in no circle any more, to be taken from the list in tools/shape.ts: ${file}`)
if (process.argv.includes('--long')) {
  for (const [file, text] of texts) {
    const lines = text.split('\n').length - 1
    if (lines > mostLines) console.log(`${file}: ${lines} lines`)
  }
  for (const [folder, its] of Map.groupBy(files, dirname)) {
    if (its.length > mostFiles) console.log(`${folder}/: ${its.length} files`)
  }
}
process.exitCode = fresh.length === 0 ? 0 : 1
