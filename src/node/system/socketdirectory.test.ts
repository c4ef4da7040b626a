import assert from 'node:assert/strict'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { prepareSocketDirectory } from './socketdirectory.ts'

const temporary = mkdtempSync(join(tmpdir(), 'lightpath-sockets-'))
after(() => rmSync(temporary, { recursive: true }))
const group = process.getegid!()

test('the directory is made with its parents, and closed to others', () => {
  const path = join(temporary, 'run', 'envoy')
  prepareSocketDirectory(path, group)
  assert.equal(statSync(path).mode & 0o7777, 0o1770)
  assert.equal(statSync(path).gid, group)
})

test('a directory that is open to others is closed, and keeps its contents', () => {
  const path = join(temporary, 'open')
  mkdirSync(path)
  chmodSync(path, 0o777)
  writeFileSync(join(path, 'xds.sock'), '')
  prepareSocketDirectory(path, group)
  assert.equal(statSync(path).mode & 0o7777, 0o1770)
  assert.ok(statSync(join(path, 'xds.sock')).isFile())
})

test('a link in its place is not followed, and nothing behind it is changed', () => {
  const [target, path] = [join(temporary, 'target'), join(temporary, 'link')]
  mkdirSync(target, { mode: 0o755 })
  symlinkSync(target, path)
  assert.throws(() => prepareSocketDirectory(path, group), /link is no directory; remove it/)
  assert.equal(statSync(target).mode & 0o7777, 0o755)
})

test('a path too long for a socket address is refused before anything is made', () => {
  const path = join(temporary, 'x'.repeat(100))
  assert.throws(() => prepareSocketDirectory(path, group), /is too long for a socket's directory: at most 93 bytes/)
})
