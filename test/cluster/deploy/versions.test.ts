/** Which versions of Kubernetes clusters here are made of. Nothing is built. */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'

const root = join(import.meta.dirname, '../../..')
const kubernetes = join(root, 'hack/kubernetes')
const minors = readdirSync(kubernetes)
  .filter(name => name.startsWith('1.'))
  .sort((a, b) => Number(a.slice(2)) - Number(b.slice(2)))

const run = (program: string, args: readonly string[], LIGHTPATH_KUBERNETES = '') =>
  promisify(execFile)(join(root, program), args, { env: { ...process.env, LIGHTPATH_KUBERNETES } })
const versionOf = async (minor = '') => (await run('hack/kubernetes/version', [], minor)).stdout.trim()
const goModOf = (minor: string) => readFileSync(join(kubernetes, minor, 'go.mod'), 'utf8')

test('there are three minor versions of Kubernetes, one after the other, and the newest is what one gets', async () => {
  const newest = Number(minors.at(-1)!.slice(2))
  assert.deepEqual(minors, [`1.${newest - 2}`, `1.${newest - 1}`, `1.${newest}`])
  assert.equal(await versionOf(), await versionOf(minors.at(-1)))
})

for (const minor of minors) {
  test(`all of Kubernetes ${minor} is of the one release that its go.mod requires`, async () => {
    const version = await versionOf(minor)
    assert.match(version, new RegExp(`^${minor.replace('.', '\\.')}\\.\\d+$`))
    const replaced = [...goModOf(minor).matchAll(/^\t(k8s\.io\/\S+) => (\S+) v(\S+)$/gm)]
    assert.ok(replaced.length > 30, `${replaced.length} modules`)
    for (const [, module, by, release] of replaced) assert.deepEqual([by, `1${release!.slice(1)}`], [module, version])
  })
}

test('every minor version has the same programs', () => {
  const tools = (minor: string) => /^tool \([^)]*\)/m.exec(goModOf(minor))?.[0]
  assert.ok(tools(minors[0]!))
  for (const minor of minors) assert.equal(tools(minor), tools(minors[0]!))
})

test('docs/testing.md names the releases, and the Go that each needs', async () => {
  const docs = readFileSync(join(root, 'docs/testing.md'), 'utf8')
  const named = [...docs.matchAll(/^\| (1\.\d+\.\d+) \| (1\.\d+) \|/gm)].map(([, version, go]) => [version, go])
  const needed = async (minor: string) => [await versionOf(minor), /^go (1\.\d+)/m.exec(goModOf(minor))![1]]
  assert.deepEqual(named, await Promise.all(minors.toReversed().map(needed)))
})

test('a cluster of a version that is not here is refused with those that are', async () => {
  const refused = { message: new RegExp(`there is no 1\\.2 here; there is ${minors.join(', ')}`) }
  await assert.rejects(run('hack/cluster', ['up', '--kubernetes', '1.2']), refused)
  await assert.rejects(run('hack/kubernetes/build', [], '1.2'), refused)
})
