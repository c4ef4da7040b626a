import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, statSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, type TestContext, test } from 'node:test'
import { ManifestReader } from './reader.ts'

const root = mkdtempSync(join(tmpdir(), 'lightpath-reader-'))
after(() => rmSync(root, { recursive: true }))

/** Returns what the reader makes of a file with this text. */
async function read(t: TestContext, name: string, text: string) {
  const reader = new ManifestReader(root)
  t.after(() => reader.stop())
  const path = join(root, name)
  writeFileSync(path, text)
  return reader.read(path, statSync(path).size)
}

const service = { apiVersion: 'v1', kind: 'Service', metadata: { name: 'web' }, spec: { clusterIP: '10.0.0.1' } }
const padding = { ...service, kind: 'Secret', data: 'x'.repeat(70_000) }

for (const [size, documents] of [
  ['small', [service]],
  ['large', [service, padding]],
] as const) {
  test(`a ${size} file is the same in YAML and JSON`, async t => {
    const yaml = await read(t, `${size}.yaml`, documents.map(document => `---\n${JSON.stringify(document)}\n`).join(''))
    const json = await read(t, `${size}.json`, JSON.stringify({ apiVersion: 'v1', kind: 'List', items: documents }))
    assert.deepEqual(
      yaml.objects.map(({ kind, name }) => [kind, name]),
      [['Service', 'web']],
    )
    assert.deepEqual(yaml, json)
  })

  test(`a ${size} broken file is reported with its line`, async t => {
    const text = `${documents.map(document => `---\n${JSON.stringify(document)}\n`).join('')}---\na: [\nb`
    const { broken, problems } = await read(t, 'broken.yaml', text)
    assert.deepEqual([broken, problems.length], [true, 1])
    assert.match(problems[0]!.object, new RegExp(`broken.yaml:${documents.length * 2 + 3}$`))
  })
}

test('a file that is too large is refused: by its size, by the memory that it takes', async t => {
  const reader = new ManifestReader(root, 32)
  t.after(() => reader.stop())
  const path = join(root, 'sparse.yaml')
  writeFileSync(path, '')
  truncateSync(path, 33 * 1024 * 1024)
  await assert.rejects(reader.read(path, statSync(path).size), /it has \d+ bytes, and \d+ are read at most/)
  writeFileSync(path, `[${'[a],'.repeat(1024 * 1024)}]`)
  await assert.rejects(reader.read(path, statSync(path).size), /to read it is too much: it takes /)
  writeFileSync(path, JSON.stringify(service))
  assert.equal((await reader.read(path, 1e6)).objects.length, 1)
})

test('a file that becomes a pipe or a link between the scan and the reading is not waited for', async t => {
  const reader = new ManifestReader(root)
  t.after(() => reader.stop())
  for (const size of [1, 1e6]) {
    execFileSync('mkfifo', [join(root, `pipe-${size}.yaml`)])
    await assert.rejects(reader.read(join(root, `pipe-${size}.yaml`), size), /it is no regular file/)
    symlinkSync('/proc/kmsg', join(root, `link-${size}.yaml`))
    await assert.rejects(reader.read(join(root, `link-${size}.yaml`), size), /leads out of the directory/)
  }
})

test('a file of 20,000 pieces that are no objects has a hundred problems, and the number of the others', async t => {
  const { problems } = await read(t, 'many.yaml', '- {}\n'.repeat(20_000).replace(/^/, 'kind: List\nitems:\n'))
  assert.equal(problems.length, 101)
  assert.match(problems.at(-1)!.reason, /19900 problems more/)
})
