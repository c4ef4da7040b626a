import assert from 'node:assert/strict'
import { test } from 'node:test'
import { speedsOf } from './latencies.ts'

test('an endpoint’s share is that of the tries which ended meanwhile', () => {
  const seen = (ms: number, tries: number) => ({ ms, failing: 0, tries })
  const before = new Map([
    ['a', seen(9, 1000)],
    ['b', seen(9, 10)],
  ])
  const after = new Map([
    ['a', seen(20, 1010)],
    ['b', seen(2, 90)],
    ['c', seen(2, 10)],
  ])
  const speeds = speedsOf(['a', 'b', 'c'], before, after)
  assert.deepEqual(speeds, {
    a: { ms: 20, failing: 0, share: 0.1 },
    b: { ms: 2, failing: 0, share: 0.8 },
    c: { ms: 2, failing: 0, share: 0.1 },
  })
  assert.equal(speedsOf(['a'], after, after).a!.share, undefined)
})
