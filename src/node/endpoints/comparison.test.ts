import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Failures, worseThanSiblings } from './comparison.ts'

const load = (requests: number, errors: number): Failures => ({ requests, errors })
const worse = (...loads: readonly Failures[]) => worseThanSiblings(loads, 0.25).map(found => loads.indexOf(found))

test('an endpoint that fails every request is found after some ten errors', () => {
  assert.deepEqual(worse(load(12, 12), load(12, 0), load(12, 0)), [0])
  assert.deepEqual(worse(load(18, 0), load(18, 18)), [1])
  assert.deepEqual(worse(load(3, 3), load(3, 0), load(3, 0)), [])
})

test('an endpoint that fails many requests is found where its siblings fail few', () => {
  assert.deepEqual(worse(load(100, 30), load(100, 2), load(100, 4)), [0])
  assert.deepEqual(worse(load(1000, 200), load(1000, 0)), [], 'a fifth is below the least share')
  assert.deepEqual(worse(load(100, 60), load(100, 30)), [], 'only twice as bad')
})

test('where all endpoints fail alike, none is found', () => {
  assert.deepEqual(worse(load(20, 20), load(20, 20)), [])
  assert.deepEqual(worse(load(22, 22), load(18, 18)), [])
  assert.deepEqual(worse(load(15, 15)), [], 'there is no sibling')
  const alike = fc.record({ count: fc.integer({ min: 1, max: 30 }), share: fc.double({ min: 0, max: 1, noNaN: true }) })
  fc.assert(
    fc.property(alike, fc.integer({ min: 1, max: 10_000 }), ({ count, share }, requests) => {
      assert.deepEqual(worse(...Array.from({ length: count }, () => load(requests, Math.round(requests * share)))), [])
    }),
  )
})

test('a client whose every request fails, balanced by chance, makes no endpoint look worse', () => {
  const endpoints = fc.integer({ min: 2, max: 5 })
  const choices = fc.array(fc.nat(), { minLength: 40, maxLength: 40 })
  fc.assert(
    fc.property(endpoints, choices, (count, chosen) => {
      const bad = Array.from({ length: count }, (_, i) => chosen.filter(choice => choice % count === i).length)
      assert.deepEqual(worse(...bad.map(errors => load(errors, errors))), [], 'alone')
      const many = bad.map(errors => load(errors + 40, errors))
      assert.ok(worse(...many).length === 0 || Math.max(...bad) > 25, 'among others')
    }),
  )
})

test('an endpoint that gets most requests because it fails them fast is found, too', () => {
  assert.deepEqual(worse(load(500, 500), load(50, 0), load(50, 0)), [0])
})
