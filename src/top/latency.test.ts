import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { percentile } from '../lab/load-report.ts'
import { quantile } from './latency.ts'

const bounds = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.1, 1]

function bucketsOf(values: readonly number[]): Record<string, number> {
  const upTo = bounds.map(bound => [String(bound), values.filter(value => value <= bound).length])
  return Object.fromEntries([...upTo, ['+Inf', values.length]])
}

test('a quantile lies in the bucket of the value that has that rank', () => {
  const values = fc.array(fc.double({ min: 0.0001, max: 1, noNaN: true }), { minLength: 1 })
  fc.assert(
    fc.property(values, fc.constantFrom(0.5, 0.9, 0.99), (latencies, q) => {
      const exact = percentile(
        latencies.toSorted((a, b) => a - b),
        q * 100,
      )
      const upper = bounds.find(bound => exact <= bound)!
      const lower = bounds.findLast(bound => bound < exact) ?? 0
      const found = quantile(bucketsOf(latencies), q)!
      assert.ok(found >= lower - 1e-9 && found <= upper + 1e-9, `${found} for ${exact}`)
    }),
  )
})

test('without answers there is no quantile, and beyond the last bound it is that bound', () => {
  assert.equal(quantile({}, 0.5), undefined)
  assert.equal(quantile(bucketsOf([]), 0.5), undefined)
  assert.equal(quantile(bucketsOf([7, 8, 9]), 0.5), 1)
})
