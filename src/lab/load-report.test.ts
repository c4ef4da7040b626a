import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { percentile, type Sample, summarise } from './load-report.ts'

const sample = (fields: Partial<Sample>): Sample => ({ at: 0, ms: 1, connection: 0, endpoint: 'a', ...fields })

test('the percentiles of 1 to 100 are their own numbers', () => {
  const values = Array.from({ length: 100 }, (_, i) => i + 1)
  assert.deepEqual(
    [50, 90, 99, 100].map(p => percentile(values, p)),
    [50, 90, 99, 100],
  )
})

test('a percentile is the smallest value that so many per cent of all do not exceed', () => {
  fc.assert(
    fc.property(fc.array(fc.integer(), { minLength: 1 }), fc.integer({ min: 0, max: 100 }), (values, p) => {
      const ascending = values.toSorted((a, b) => a - b)
      const result = percentile(ascending, p)
      const share = (limit: (value: number) => boolean) => (values.filter(limit).length / values.length) * 100
      assert.ok(values.includes(result))
      assert.ok(share(value => value <= result) >= p)
      assert.ok(share(value => value < result) < p || result === ascending[0])
    }),
  )
})

test('a report counts good answers by endpoint and errors by kind, and good and bad add up to all', () => {
  const report = summarise([
    sample({ endpoint: 'b' }),
    sample({}),
    sample({ endpoint: 'b', ms: 9 }),
    sample({ error: 'HTTP 500' }),
    sample({ error: 'ECONNRESET', at: 7 }),
    sample({ error: 'HTTP 500' }),
  ])
  assert.deepEqual(report.endpoints.a, { requests: 1, first: 1, last: 0 })
  assert.equal(report.endpoints.b!.requests, 2)
  assert.deepEqual(report.errors, { ECONNRESET: 1, 'HTTP 500': 2 })
  assert.equal(report.requests, 6)
  assert.equal(report.ok, 3)
  assert.deepEqual(report.latencyMs, { p50: 1, p90: 9, p99: 9, max: 9 })
  assert.deepEqual(
    report.firstErrors.map(error => error.at),
    [0, 7, 0],
  )
})

test('a report says how many endpoints answered on each connection', () => {
  const report = summarise([
    sample({ connection: 1, endpoint: 'a' }),
    sample({ connection: 0, endpoint: 'a' }),
    sample({ connection: 0, endpoint: 'b' }),
    sample({ connection: 0, endpoint: 'b' }),
  ])
  assert.deepEqual(report.endpointsPerConnection, [2, 1])
})

test('a report says through which layer answers came, and from when to when', () => {
  const report = summarise([
    sample({ layer: 'kernel', at: 5 }),
    sample({ layer: 'envoy', at: 9 }),
    sample({ layer: 'kernel', at: 3 }),
    sample({ layer: 'kernel', at: 1, error: 'HTTP 503' }),
  ])
  assert.deepEqual(report.layers, {
    envoy: { requests: 1, first: 10, last: 9 },
    kernel: { requests: 2, first: 4, last: 5 },
  })
})

test('a report of nothing but errors has no latency', () => {
  assert.equal(summarise([sample({ error: 'TIMEOUT' })]).latencyMs, null)
})
