import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type RoutingRule, rulesFor } from './podrules.ts'

const pod = (number: number) => ({ address: `10.0.1.${number}`, device: `eni${number}` })
function rule(rest: string, more: Partial<RoutingRule> = {}): RoutingRule {
  return { source: undefined, destination: undefined, incoming: undefined, rest, ...more }
}

const common = [
  rule('0: lookup local'),
  rule('5: fwmark 0x8000/0xd000 lookup 1666'),
  rule('1024: fwmark 0x80/0x80 lookup main'),
  rule('32766: lookup main'),
]
const to = (number: number) => rule('512: lookup main', { destination: `10.0.1.${number}/32` })
const from = (number: number, table: string) => rule(`1536: lookup ${table}`, { source: `10.0.1.${number}/32` })

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
  const range = rule('600: lookup 7', { source: '10.0.1.0/29' })
  assert.match(rulesFor(pod(7), [range]), /^from /)
  assert.equal(rulesFor(pod(9), [range]), '')
  const inward = rule('10: lookup 7', { incoming: 'eni9' })
  assert.match(rulesFor(pod(9), [inward]), /^iif /)
  assert.equal(rulesFor(pod(7), [inward]), '')
})
