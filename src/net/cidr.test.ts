import assert from 'node:assert/strict'
import { BlockList } from 'node:net'
import { test } from 'node:test'
import fc from 'fast-check'
import { canonicalIp, familyOf } from './address.ts'
import { canonicalCidr, complement, contains, withoutNested } from './cidr.ts'

const ipv4 = fc.ipV4()
const ipv6 = fc.ipV6().map(ip => canonicalIp(ip)!)
const ranges = fc.oneof(
  fc.tuple(ipv4, fc.integer({ min: 0, max: 32 })).map(([ip, length]) => `${ip}/${length}`),
  fc.tuple(ipv6, fc.integer({ min: 0, max: 128 })).map(([ip, length]) => `${ip}/${length}`),
)
/** Near and far from the beginnings of the ranges above. */
const addresses = fc.oneof(ipv4, ipv6)

function nodeContains(range: string, ip: string): boolean {
  const [address, length] = range.split('/') as [string, string]
  if (familyOf(address) !== familyOf(ip)) return false
  const list = new BlockList()
  const family = familyOf(address) === 'IPv4' ? 'ipv4' : 'ipv6'
  list.addSubnet(address, Number(length), family)
  return list.check(ip, family)
}

test('A range is written with its first address, and one that is none is refused', () => {
  assert.equal(canonicalCidr('10.1.2.3/8'), '10.0.0.0/8')
  assert.equal(canonicalCidr('FD00:0::1/64'), 'fd00::/64')
  assert.equal(canonicalCidr('0.0.0.0/0'), '0.0.0.0/0')
  assert.equal(canonicalCidr('::1/128'), '::1/128')
  for (const none of ['10.0.0.1', '10.0.0.0/33', 'fd00::/129', '10.0.0/8', 'primary', '/8', '10.0.0.0/']) {
    assert.equal(canonicalCidr(none), undefined, none)
  }
})

test('A range holds the addresses that Node.js says it holds', () => {
  fc.assert(
    fc.property(ranges, addresses, fc.boolean(), (range, ip, isFromRange) => {
      const asked = isFromRange ? range.split('/')[0]! : ip
      assert.equal(contains(canonicalCidr(range)!, asked), nodeContains(range, asked))
    }),
  )
})

test('The complement of a range holds all other addresses, each once', () => {
  fc.assert(
    fc.property(ranges, addresses, fc.boolean(), (text, ip, isFromRange) => {
      const range = canonicalCidr(text)!
      const asked = isFromRange ? text.split('/')[0]! : ip
      if (familyOf(asked) !== familyOf(range.split('/')[0]!)) return
      const holders = complement(range).filter(other => contains(other, asked))
      assert.equal(holders.length, contains(range, asked) ? 0 : 1)
    }),
  )
})

test('Leaving out what another range holds changes no address, and leaves no two that overlap', () => {
  fc.assert(
    fc.property(fc.array(ranges), addresses, (texts, ip) => {
      const all = texts.map(text => canonicalCidr(text)!)
      const kept = withoutNested(all)
      assert.equal(
        kept.some(range => contains(range, ip)),
        all.some(range => contains(range, ip)),
      )
      for (const range of all) assert.ok(kept.some(outer => contains(outer, range.split('/')[0]!)))
      for (const range of kept) {
        assert.ok(!kept.some(other => other !== range && contains(other, range.split('/')[0]!)), `${range} of ${kept}`)
      }
    }),
  )
})
