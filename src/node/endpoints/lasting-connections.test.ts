import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Evidence, evidenceOf } from './lasting-connections.ts'

interface Look {
  readonly endpoints: readonly string[]
  readonly opened: number
  readonly byTimeout: number
  readonly byEndpoint: number
}

const both = ['a', 'b']
const first: Look = { endpoints: both, opened: 1000, byTimeout: 30, byEndpoint: 3 }

function after(...looks: readonly Partial<Look>[]): Evidence {
  let look = first
  return [{}, ...looks].reduce<Evidence | undefined>((evidence, change) => {
    look = { ...look, ...change }
    return evidenceOf(evidence, () => look.endpoints, look)
  }, undefined)!
}

const busy = { opened: 1200 }
const enough = { byTimeout: 50 }

test('endpoints are watched once connections are opened often, and none is ended by them', () => {
  assert.equal(after({ opened: 1199 }).connections, 'fresh')
  assert.equal(after({ opened: 1199 }, { opened: 1398 }).connections, 'fresh')
  assert.equal(after({ opened: 1200, byEndpoint: 4 }).connections, 'fresh')
  assert.equal(after(busy).connections, 'watched')
})

test('endpoints let connections live when ten for each have timed out since they are watched, and none is ended by them', () => {
  assert.equal(after(busy, { byTimeout: 49 }).connections, 'watched')
  assert.equal(after(busy, { byTimeout: 49 }, enough).connections, 'lasting')
  assert.equal(after(busy, { ...enough, byEndpoint: 4 }).connections, 'fresh')
})

test('a connection that an endpoint ends, a new endpoint and counts that began anew have it shown again', () => {
  assert.equal(after(busy, enough, { byEndpoint: 4 }).connections, 'fresh')
  assert.equal(after(busy, enough, { endpoints: ['a', 'b', 'c'] }).connections, 'fresh')
  assert.equal(after(busy, enough, { endpoints: ['a', 'c'] }).connections, 'fresh')
  assert.equal(after(busy, enough, { opened: 10 }).connections, 'fresh')
  assert.equal(after(busy, enough, { endpoints: ['b'] }).connections, 'lasting')
})

test('no endpoint is known to let connections live that has ended one since, or came since', () => {
  const step = fc.record({
    endpoints: fc.uniqueArray(fc.constantFrom('a', 'b', 'c'), { minLength: 1 }),
    opened: fc.constantFrom(0, 200),
    timedOut: fc.constantFrom(0, 5, 30),
    ended: fc.constantFrom(0, 0, 0, 1),
  })
  const property = fc.property(fc.array(step, { minLength: 1, maxLength: 10 }), steps => {
    let counts = { opened: 0, byTimeout: 0, byEndpoint: 0 }
    let evidence: Evidence | undefined
    for (const { endpoints, opened, timedOut, ended } of steps) {
      counts = {
        opened: counts.opened + opened,
        byTimeout: counts.byTimeout + timedOut,
        byEndpoint: counts.byEndpoint + ended,
      }
      const before = evidence
      evidence = evidenceOf(before, () => endpoints, counts)
      if (evidence.connections !== 'lasting') continue
      assert.equal(ended, 0)
      assert.ok(endpoints.every(endpoint => before!.endpoints.has(endpoint)))
    }
  })
  fc.assert(property)
})
