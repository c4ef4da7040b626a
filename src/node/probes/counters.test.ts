import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type PathCounters, suspicion } from './counters.ts'

const none: PathCounters = { redirected: 0, reached: 0, repeated: 0 }
const soFar = fc.record({ redirected: fc.nat(1e6), reached: fc.nat(1e6), repeated: fc.nat(1e6) })

function later(before: PathCounters, more: Partial<PathCounters>): PathCounters {
  return {
    redirected: before.redirected + (more.redirected ?? 0),
    reached: before.reached + (more.reached ?? 0),
    repeated: before.repeated + (more.repeated ?? 0),
  }
}

test('nothing is suspected if all arrives, or one packet is under way or lost, whatever came before', () => {
  fc.assert(
    fc.property(soFar, fc.nat(1e5), fc.constantFrom(-1, 0, 1), fc.nat(1), (before, count, underWay, repeated) => {
      const after = later(before, { redirected: count, reached: Math.max(0, count - underWay), repeated })
      assert.equal(suspicion(before, after), undefined)
    }),
  )
})

test('the path is suspected if none of two or more arrives, or a fifth does not', () => {
  fc.assert(
    fc.property(soFar, fc.integer({ min: 2, max: 1e5 }), (before, count) => {
      assert.match(suspicion(before, later(before, { redirected: count })) ?? '', /did not reach it/)
      const lost = Math.max(2, Math.ceil(count / 5))
      const some = later(before, { redirected: count, reached: count - lost })
      assert.match(suspicion(before, some) ?? '', /did not reach it/)
    }),
  )
})

test('the path is suspected if clients repeat what Envoy has answered, also if no new ones come', () => {
  fc.assert(
    fc.property(soFar, fc.nat(1000), (before, count) => {
      const repeated = Math.max(2, count)
      const after = later(before, { redirected: count, reached: count, repeated })
      assert.match(suspicion(before, after) ?? '', /repeated what Envoy had answered/)
    }),
  )
})

test('counters that were made anew show nothing', () => {
  assert.equal(suspicion({ redirected: 10, reached: 10, repeated: 0 }, { ...none, redirected: 5 }), undefined)
})
