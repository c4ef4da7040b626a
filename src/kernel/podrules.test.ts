import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type RoutingRule, rulesFor } from './podrules.ts'

const pod = (number: number) => ({ address: `10.0.1.${number}`, device: `eni${number}` })
const common = [
  { priority: 0, src: 'all', table: 'local' },
  { priority: 5, src: 'all', fwmark: '0x8000', fwmask: '0xd000', table: '1666' },
  { priority: 1024, src: 'all', fwmark: '0x80', fwmask: '0x80', table: 'main' },
  { priority: 32766, src: 'all', table: 'main' },
]
const to = (number: number): RoutingRule => ({
  priority: 512,
  src: 'all',
  dst: `10.0.1.${number}`,
  ...{ table: 'main' },
})
const from = (number: number, table: string): RoutingRule => ({
  priority: 1536,
  src: `10.0.1.${number}`,
  ...{ table },
})

test('pods are under equal rules where each has rules of its own of the same kind', () => {
  const rules = [...common, to(7), to(8)]
  assert.equal(rulesFor(pod(7), rules), rulesFor(pod(8), rules))
  assert.notEqual(rulesFor(pod(7), rules), rulesFor(pod(9), rules))
})

test('pods are under other rules where one is routed by another table, as on a secondary network card', () => {
  const rules = [...common, to(7), to(8), to(9), from(8, '2'), from(9, '3')]
  assert.equal(new Set([7, 8, 9].map(number => rulesFor(pod(number), rules))).size, 3)
})

test('a rule for a range or an interface is for the pods that it holds', () => {
  const range: RoutingRule = { priority: 600, src: '10.0.1.0', srclen: 29 }
  assert.match(rulesFor(pod(7), [range]), /^from /)
  assert.equal(rulesFor(pod(9), [range]), '')
  const inward: RoutingRule = { priority: 10, src: 'all', iif: 'eni9' }
  assert.match(rulesFor(pod(9), [inward]), /^iif /)
  assert.equal(rulesFor(pod(7), [inward]), '')
})
