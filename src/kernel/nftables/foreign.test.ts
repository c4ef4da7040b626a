import assert from 'node:assert/strict'
import { test } from 'node:test'
import { blockingChains } from './foreign.ts'
import { type Expression, metaKeys, verdictCodes } from './rules/expression.ts'
import { tableFamilies } from './wire/dump.ts'

const verdict = (code: keyof typeof verdictCodes, chain?: string): Expression => {
  return {
    name: 'immediate',
    dreg: 0,
    verdict: { code: verdictCodes[code], ...(chain === undefined ? {} : { chain }) },
  }
}
const compare = (text: string): Expression => ({ name: 'cmp', sreg: 1, op: 0, data: Buffer.from(text) })
const payload: Expression = { name: 'payload', base: 1, offset: 16, length: 4, dreg: 1 }

type Rules = Readonly<Record<string, readonly (readonly Expression[])[]>>
type Hook = readonly [hook: string, priority: number, policy: 'accept' | 'drop']

/** Rules by their chain; those of `base` are of the base chain. */
function blocking([hook, priority, policy]: Hook, rules: Rules) {
  return blockingChains([
    {
      family: tableFamilies.inet,
      tables: ['fw'],
      chains: [
        { table: 'fw', name: 'base', hook: { type: 'filter', hook, priority, policy } },
        { table: 'fw', name: 'other', hook: undefined },
      ],
      rules: Object.entries(rules).flatMap(([chain, all]) =>
        all.map(expressions => ({ table: 'fw', chain, expressions })),
      ),
    },
  ])
}

const raw: Hook = ['prerouting', -300, 'accept']
const input: Hook = ['input', 0, 'drop']

test('A chain before ours that drops is named, also where the chain that it jumps to does', () => {
  const name = 'inet fw base (priority -300)'
  assert.deepEqual(blocking(raw, { base: [[payload, verdict('drop')]] }).droppingBefore, [name])
  const jumping = { base: [[verdict('jump', 'other')]], other: [[{ name: 'reject', type: 0 } as const]] }
  assert.deepEqual(blocking(raw, jumping).droppingBefore, [name])
  assert.deepEqual(blocking(['prerouting', -300, 'drop'], {}).droppingBefore, [name])
})

test('A chain before ours that accepts, jumps in a circle, or checks the way back is no conflict', () => {
  const circle = { base: [[verdict('jump', 'other')]], other: [[verdict('goto', 'base')]] }
  const wayBack: readonly Expression[] = [{ name: 'fib', dreg: 1, result: 1, flags: 9 }, compare('\0'), verdict('drop')]
  const all: readonly Rules[] = [
    { base: [[verdict('accept')]] },
    circle,
    { base: [wayBack] },
    { other: [[verdict('drop')]] },
  ]
  for (const rules of all) {
    assert.deepEqual(blocking(raw, rules).droppingBefore, [])
  }
})

test('A policy of drop closes the chain where only open connections and the loopback interface are let through', () => {
  const established: readonly Expression[] = [{ name: 'ct', key: 0, dreg: 1 }, compare('1234'), verdict('accept')]
  const loopback: readonly Expression[] = [
    { name: 'meta', key: metaKeys.iifname, dreg: 1 },
    compare('lo\0\0'),
    verdict('accept'),
  ]
  const interfaces: readonly Expression[] = [loopback[0]!, compare('lo1\0'), verdict('accept')]
  const byMap: readonly Expression[] = [payload, { name: 'lookup', set: '__map0', sreg: 1, dreg: 0 }]
  const closed = blocking(input, { base: [established, loopback] })
  assert.deepEqual([closed.closed, closed.dropping], [['inet fw base'], ['inet fw base']])
  for (const rule of [interfaces, byMap, [verdict('accept')]]) {
    const { closed, dropping } = blocking(input, {
      base: [established, loopback, [verdict('jump', 'other')]],
      other: [rule],
    })
    assert.deepEqual([closed, dropping], [[], ['inet fw base']])
  }
})
