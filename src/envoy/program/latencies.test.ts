import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { readLatencies } from './latencies.ts'

const endpoints = [
  { ip: '10.244.1.2', port: 8080 },
  { ip: 'fd00:244:1::2', port: 80 },
  { ip: '10.244.1.3', port: 8080 },
]

/** Rows as native/latency/latency.c writes them on the architectures that have images. */
function file(...rows: readonly { ip: number[]; port: number; ms: number; tries: number; ago: number }[]): Buffer {
  const bytes = Buffer.alloc(64 * (rows.length + 1))
  bytes.write('LPLAT 1\0')
  bytes.writeBigUInt64LE(BigInt(rows.length), 8)
  for (const [n, { ip, port, ms, tries, ago }] of rows.entries()) {
    const row = bytes.subarray(64 * (n + 1))
    row.set(ip)
    row.writeUInt16LE(port, 16)
    row.writeUInt32LE(65_536 / 4, 20)
    row.writeBigUInt64LE(process.hrtime.bigint() - BigInt(ago * 1e6), 32)
    row.writeBigUInt64LE(BigInt(ms * 1e6), 40)
    row.writeBigUInt64LE(BigInt(tries), 48)
  }
  return bytes
}

const ipv4 = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 244, 1, 2]
const ipv6 = [0xfd, 0, 2, 0x44, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]

test('what two Envoys have observed of an endpoint is joined', t => {
  const directory = mkdtempSync(join(tmpdir(), 'lightpath-latencies-'))
  t.after(() => rmSync(directory, { recursive: true }))
  const own = { ip: ipv4, port: 8080, ms: 3, tries: 10, ago: 1000 }
  writeFileSync(join(directory, 'endpoints-1'), file(own, { ip: ipv6, port: 80, ms: 0, tries: 1, ago: 0 }))
  writeFileSync(join(directory, 'endpoints-2'), file({ ...own, ms: 7, tries: 5, ago: 0 }))
  const found = readLatencies(directory, endpoints)
  assert.deepEqual([...found.keys()], ['10.244.1.2:8080', '[fd00:244:1::2]:80'])
  const { ms, tries, failing } = found.get('10.244.1.2:8080')!
  assert.deepEqual({ ms, tries, failing }, { ms: 7, tries: 15, failing: 0.25 })
  assert.equal(found.get('[fd00:244:1::2]:80')!.ms, undefined)
})

test('a missing or cut file, one of another form, or no file gives nothing', t => {
  const directory = mkdtempSync(join(tmpdir(), 'lightpath-latencies-'))
  t.after(() => rmSync(directory, { recursive: true }))
  const path = join(directory, 'endpoints-1')
  const whole = file({ ip: ipv4, port: 8080, ms: 3, tries: 10, ago: 0 })
  assert.equal(readLatencies(directory, endpoints).size, 0)
  for (const bytes of ['', 'text', whole.subarray(0, 100), Buffer.concat([Buffer.from('X'), whole])]) {
    writeFileSync(path, bytes)
    assert.equal(readLatencies(directory, endpoints).size, 0)
  }
  const boastful = Buffer.from(whole)
  boastful.writeBigUInt64LE(2n ** 63n, 8)
  writeFileSync(path, boastful)
  assert.equal(readLatencies(directory, endpoints).size, 1)
  rmSync(path)
  writeFileSync(join(directory, 'elsewhere'), whole)
  symlinkSync(join(directory, 'elsewhere'), path)
  assert.equal(readLatencies(directory, endpoints).size, 0)
})
