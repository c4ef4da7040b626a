import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Fingerprints } from './fingerprints.ts'

const bytes = fc.string({ unit: fc.integer({ min: 0, max: 255 }).map(code => String.fromCharCode(code)), maxLength: 4 })
const elements = fc.uniqueArray(fc.tuple(bytes, bytes), { maxLength: 3000, selector: String, size: 'max' })

test('What was added can be claimed, and nothing else; what nobody claims is told', () => {
  fc.assert(
    fc.property(elements, fc.nat(100), (all, percent) => {
      const kindOf = (index: number) => (index * 37) % 100 < percent
      const found = new Fingerprints()
      const added = all.filter((_, index) => kindOf(index))
      for (const [name, value] of [...added, ...added]) found.add(name, value)
      assert.equal(found.unclaimed, added.length)
      const claimed = all.filter((_, index) => index % 3 > 0)
      for (const [index, [name, value]] of all.entries()) {
        if (index % 3 > 0) assert.equal(found.claim(name, value), kindOf(index))
      }
      for (const [name, value] of claimed) found.claim(name, value)
      for (const [index, [name, value]] of all.entries()) {
        assert.equal(found.isUnclaimed(name, value), kindOf(index) && index % 3 === 0)
      }
      assert.equal(found.unclaimed, all.filter((_, index) => kindOf(index) && index % 3 === 0).length)
    }),
    { numRuns: 50 },
  )
})

test('A byte more of the name is not a byte less of the value', () => {
  const found = new Fingerprints()
  found.add('ab', 'c')
  for (const [name, value] of [
    ['a', 'bc'],
    ['abc', ''],
    ['', 'abc'],
  ] as const) {
    assert.equal(found.claim(name, value), false)
  }
  assert.equal(found.claim('ab', 'c'), true)
})
