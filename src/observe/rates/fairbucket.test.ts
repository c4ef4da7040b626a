import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { FairBucket } from './fairbucket.ts'

function bucketOf(burst: number, refillMs: number) {
  let now = 0
  const bucket = new FairBucket({ burst, refillMs }, () => now)
  const takes = (who: string, times: number) => Array.from({ length: times }, () => bucket.take(who)).filter(Boolean)
  return { bucket, pass: (ms: number) => (now += ms), taken: (who: string, times = 1) => takes(who, times).length }
}

describe('a bucket that many share', () => {
  test('has room for who takes half of an equal share, however many others take all they can', () => {
    const { pass, taken } = bucketOf(1000, 1)
    let greedy = 0
    for (let round = 0; round < 1000; round++) {
      for (let each = 0; each < 100; each++) greedy += taken(`greedy-${each}`, 10)
      // Those that are new share what was left for them at first.
      if (round > 100 && round % 20 === 0) assert.equal(taken('modest'), 1)
      pass(10)
    }
    assert.ok(greedy <= 1000 + 1000 * 10, `${greedy} were taken`)
  })

  test('gives one that is alone the whole rate', () => {
    const { pass, taken } = bucketOf(100, 10)
    assert.equal(taken('alone', 1000), 50)
    for (let second = 0; second < 60; second++) {
      pass(1000)
      assert.ok(taken('alone', 1000) >= 50)
      pass(500)
      assert.equal(taken('alone', 1000), 50)
    }
  })

  test('gives each as much where all want more than there is', () => {
    const { pass, taken } = bucketOf(100, 10)
    const had = new Map<string, number>()
    for (let round = 0; round < 2000; round++) {
      for (const [who, times] of [
        ['eager', 20],
        ['quick', 5],
        ['late', 1],
      ] as const)
        had.set(who, (had.get(who) ?? 0) + taken(who, times))
      pass(20)
    }
    const counts = [...had.values()]
    assert.ok(Math.max(...counts) < 1.2 * Math.min(...counts), `${counts}`)
  })

  test('never gives more than it holds and what has come since', () => {
    const steps = fc.array(
      fc.record({ who: fc.constantFrom('a', 'b', 'c', 'd'), times: fc.integer({ min: 1, max: 80 }), ms: fc.nat(50) }),
      { maxLength: 200 },
    )
    fc.assert(
      fc.property(steps, all => {
        const { bucket, pass } = bucketOf(50, 2)
        let [time, sum] = [0, 0]
        for (const { who, times, ms } of all) {
          pass(ms)
          time += ms
          if (bucket.take(who, times)) sum += Math.min(times, 12.5)
          assert.ok(sum <= 50 + time / 2)
        }
      }),
    )
  })
})
