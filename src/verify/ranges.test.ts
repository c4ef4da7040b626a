import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { contains } from '../net/cidr.ts'
import { mergeRanges } from './ranges.ts'

const cases: readonly (readonly [title: string, texts: readonly string[], merged: readonly string[]])[] = [
  ['a range within another is part of it', ['10.1.0.0/16', '10.0.0.0/8'], ['10.0.0.0/8']],
  ['two that touch are one', ['10.0.0.0/25', '10.0.0.128/25'], ['10.0.0.0/24']],
  ['two that make no block are from … to', ['10.0.0.0/32', '10.0.0.1', '10.0.0.2/32'], ['10.0.0.0-10.0.0.2']],
  ['bits of the host do not count', ['10.1.2.3/16'], ['10.1.0.0/16']],
  ['IPv6 has its canonical text', ['2001:db8::/33', '2001:db8:8000::/33'], ['2001:db8::/32']],
  ['all addresses are a range too', ['0.0.0.0/1', '128.0.0.0/1'], ['0.0.0.0/0']],
  ['none stay none', [], []],
]
for (const [title, texts, merged] of cases) test(title, () => assert.deepEqual(mergeRanges(texts), merged))

const address = fc.nat(255).map(last => `10.0.0.${last}`)
const block = fc.tuple(address, fc.integer({ min: 24, max: 32 })).map(([ip, length]) => `${ip}/${length}`)

test('merged ranges hold the same addresses as before', () => {
  fc.assert(
    fc.property(fc.array(block), address, (blocks, ip) => {
      const isIn = (text: string) => {
        const [from, to] = text.split('-') as [string, string?]
        if (to === undefined) return contains(from, ip)
        const last = (address: string) => Number(address.split('.')[3])
        return last(from) <= last(ip) && last(ip) <= last(to)
      }
      assert.equal(mergeRanges(blocks).some(isIn), blocks.some(isIn))
    }),
  )
})
