import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Pace } from './pace.ts'

test('a client that asks now and then never waits, one that storms gets twenty answers a second', () => {
  let now = 0
  const pace = new Pace(() => now)
  const storm = Array.from({ length: 140 }, () => pace.wait('storm'))
  assert.deepEqual(storm.slice(0, 40), Array(40).fill(0))
  assert.equal(storm.at(-1), 5000)
  for (; now < 60_000; now += 100) assert.equal(pace.wait('calm'), 0)
  assert.equal(pace.wait('storm'), 0)
})
