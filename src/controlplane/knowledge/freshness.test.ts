import assert from 'node:assert/strict'
import { test } from 'node:test'
import { problem } from '../../services/problem.ts'
import { Freshness } from './freshness.ts'

const away = [problem('LP105', 'Kubernetes API', 'not reachable', 'wait')]

test('facts grow old while the API server cannot be read, from what it said last', () => {
  let now = 1_000_000
  const freshness = new Freshness(() => now)
  assert.equal(freshness.ageMs, undefined)
  freshness.heard()
  now += 60_000
  assert.equal(freshness.ageMs, 0)
  freshness.problems('kubernetes', away)
  assert.deepEqual([freshness.ageMs, freshness.isCutOff], [60_000, false])
  now += 31_000
  assert.deepEqual([freshness.ageMs, freshness.isCutOff], [91_000, true])
  freshness.problems('kubernetes', [])
  assert.deepEqual([freshness.ageMs, freshness.isCutOff, freshness.seen], [0, false, now])
})

test('what is wrong with an object says nothing of the API server', () => {
  const freshness = new Freshness(() => 0)
  freshness.heard()
  freshness.problems('kubernetes Service shop/cart', away)
  freshness.problems('kubernetes', [problem('LP101', 'Service shop/cart', 'it has no ports', 'give it one')])
  assert.equal(freshness.isCutOff, false)
})

test('an API server that tells of some kinds and denies access to others is there', () => {
  let now = 0
  const freshness = new Freshness(() => now)
  freshness.problems('kubernetes', away)
  for (; now < 600_000; now += 60_000) {
    freshness.heard()
    assert.equal(freshness.isCutOff, false)
  }
})

test('facts of a snapshot have its age until the source has reported everything', () => {
  let now = 1_000_000
  const freshness = new Freshness(() => now)
  freshness.restored(now - 10_000)
  now += 5000
  freshness.heard()
  assert.deepEqual([freshness.ageMs, freshness.isCutOff], [15_000, true])
  freshness.confirmed()
  assert.deepEqual([freshness.ageMs, freshness.isCutOff], [0, false])
})
