import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { test } from 'node:test'

/** Folders of src, and those that they may not import from. */
const apart = {
  preflight: ['node', 'webhook'],
  webhook: ['node', 'preflight'],
  node: ['webhook', 'preflight', 'commands'],
} as const

test('what looks at a node, what labels Services and the agent are apart', () => {
  for (const [folder, others] of Object.entries(apart)) {
    const files = globSync(`src/${folder}/**/*.ts`)
    assert.ok(files.length > 5, folder)
    const wrong = files.flatMap(file =>
      importsOf(file)
        .filter(imported => others.some(other => imported.startsWith(`src/${other}/`)))
        .map(imported => `${file} imports ${imported}`),
    )
    assert.deepEqual(wrong, [])
  }
})

/** Files and folders, but what is generated. */
const paths = globSync('{src,test,native,bench,deploy,images,tools,hack,proto}/**').filter(
  path => !/\/api(\/|$)|^bench\/results(\/|$)/.test(path),
)

test('no folder has more files than one looks through', () => {
  const counts = new Map<string, number>()
  const folders = new Set(paths.map(path => dirname(path)))
  for (const path of paths) if (!folders.has(path)) counts.set(dirname(path), (counts.get(dirname(path)) ?? 0) + 1)
  assert.deepEqual(
    [...counts].filter(([, count]) => count > 16),
    [],
  )
})

test('no file has more than 300 lines', () => {
  const long = paths
    .filter(path => /\.(ts|c|h)$/.test(path))
    .flatMap(path => {
      const lines = readFileSync(path, 'utf8').split('\n').length - 1
      return lines > 300 ? `${path}: ${lines}` : []
    })
  assert.deepEqual(long, [])
})

test('architecture.md names files and folders that there are', () => {
  const text = readFileSync('docs/architecture.md', 'utf8')
  const named = [...text.matchAll(/`(\w[\w./-]*(?:\.(?:ts|[ch]|proto)|\/))`/g)].map(([, name]) =>
    name!.replace(/\/$/, ''),
  )
  assert.ok(named.length > 100)
  const wrong = named.filter(name => !paths.some(path => path === name || path.endsWith(`/${name}`)))
  assert.deepEqual(wrong, [])
})

function importsOf(file: string): readonly string[] {
  const paths = readFileSync(file, 'utf8').matchAll(/(?:from |import\()'(\.[^']+)'/g)
  return [...paths].map(([, path]) => normalize(join(dirname(file), path!)))
}
