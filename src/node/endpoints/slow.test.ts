import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { slowerThanSiblings } from './slow.ts'

type Speeds = readonly (readonly [ms: number, tries: number])[]

const slow = (...all: Speeds) =>
  slowerThanSiblings(
    all.map(([ms, tries], n) => ({ endpoint: String(n), ms, tries })),
    5,
  ).map(({ endpoint }) => endpoint)

test('an endpoint that takes five times as long as the others is slow', () => {
  assert.deepEqual(slow([100, 10], [20, 10], [3, 10]), ['0'])
  assert.deepEqual(slow([100, 10], [20, 10]), ['0'])
  assert.deepEqual(slow([300, 10], [20, 10], [20, 10], [200, 10]), ['0', '3'])
})

test('an endpoint is not slow that is alone, was hardly asked, is hardly slower, or is as slow as most', () => {
  assert.deepEqual(slow([100, 10]), [])
  assert.deepEqual(slow([100, 4], [2, 10]), [])
  assert.deepEqual(slow([100, 10], [2, 4]), [], 'nor is there a sibling then')
  assert.deepEqual(slow([10, 10], [1, 10]), [])
  assert.deepEqual(slow([100, 10], [100, 10], [2, 10]), [])
})

test('not all endpoints are slow at once', () => {
  const some = fc.array(fc.tuple(fc.double({ min: 0.1, max: 1e4, noNaN: true }), fc.nat(100)), { maxLength: 12 })
  fc.assert(fc.property(some, all => assert.ok(slow(...all).length < Math.max(1, all.length))))
})
