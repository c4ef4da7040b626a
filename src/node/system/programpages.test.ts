import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { cleanMappings, programMappings, unmapUnused } from './programpages.ts'

const mapping = (range: string, permissions: string, path: string, anonymous: number) =>
  `${range} ${permissions} 00000000 fe:00 1234                       ${path}\nSize:   8 kB\nAnonymous:      ${anonymous} kB\n`

test('only mappings of the file itself count, that are private, and that nothing was written to', () => {
  const smaps = [
    mapping('400000-500000', 'r--p', '/usr/bin/node', 0),
    mapping('500000-800000', 'r-xp', '/usr/bin/node', 0),
    mapping('800000-900000', 'r--p', '/usr/bin/node', 12),
    mapping('900000-a00000', 'rw-p', '/usr/bin/node', 0),
    mapping('7f0000000000-7f0000001000', 'r-xp', '/lib/libc.so.6', 0),
    mapping('7f0000002000-7f0000003000', 'r--s', '/usr/bin/node', 0),
    mapping('7f0000004000-7f0000005000', 'r--p', '', 0),
  ].join('')
  assert.deepEqual(cleanMappings(smaps, '/usr/bin/node'), [
    { start: 0x400000n, end: 0x500000n },
    { start: 0x500000n, end: 0x800000n },
  ])
})

test('what Node.js used to start is no longer mapped then, and it goes on', () => {
  const fileKilobytes = () => Number(/^RssFile:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))![1])
  const mappings = programMappings()
  const before = fileKilobytes()
  unmapUnused(mappings)
  assert.ok(fileKilobytes() < before / 2, `${before} kB, then ${fileKilobytes()} kB`)
  assert.equal(new Intl.NumberFormat('de').format(JSON.parse('[1234.5]')[0]), '1.234,5')
})
