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

function importsOf(file: string): readonly string[] {
  const paths = readFileSync(file, 'utf8').matchAll(/(?:from |import\()'(\.[^']+)'/g)
  return [...paths].map(([, path]) => normalize(join(dirname(file), path!)))
}
