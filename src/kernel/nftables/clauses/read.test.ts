import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inspect } from 'node:util'
import fc from 'fast-check'
import type { KernelOptions } from '../../options.ts'
import { portState, testOptions } from '../../testing/states.ts'
import { ruleClauses } from '../operations.ts'
import { planRuleset } from '../render.ts'
import { compileRule } from '../rules/compile.ts'
import type { Expression } from '../rules/expression.ts'
import { printClauses, printRule } from './print.ts'
import { readRule } from './read.ts'

const preserving: Partial<KernelOptions> = {
  clientAddress: 'preserve',
  clusterCidr: ['10.244.0.0/16', 'fd00:10::/64'],
}
const variants: readonly Partial<KernelOptions>[] = [
  {},
  preserving,
  { detectLocalMode: 'BridgeInterface', podBridgeInterface: 'cni0' },
  { detectLocalMode: 'InterfaceNamePrefix', podInterfaceNamePrefix: 'veth', masqueradeMark: 0x1_0000 },
  { masqueradeAll: true, steeringMark: 0x40_0000, envoyMark: 1, targetPort: 1667 },
]
const states = [
  portState('a/b/c', '10.0.0.1', ['10.1.0.1:80', '10.1.0.2:80']),
  portState('a/b/d', '10.0.0.1', ['10.1.0.1:80', '10.1.0.2:81'], {
    affinitySeconds: 10_800,
    port: { name: 'd', protocol: 'UDP', port: 53 },
  }),
  portState('a/b/e', 'fd00::1', ['fd01::1 80', 'fd01::2 80'], { affinitySeconds: 90 }),
]
const rules = variants
  .flatMap(options => planRuleset(states, undefined, { ...testOptions, ...options }))
  .flatMap(operation => (operation.do === 'declare' ? [operation] : []))
  .flatMap(({ table: { family }, chains }) =>
    chains.flatMap(chain => chain.rules.map(rule => ({ family, clauses: ruleClauses(family, rule), rule }))),
  )

test('All that our rules say is understood', () => {
  assert.ok(rules.length > 500)
  for (const { clauses } of rules)
    assert.doesNotMatch(inspect(clauses, { depth: null }), /'other'|'unknown'|to: undefined/)
})

test('Rules that are read as the same are the same to the kernel', () => {
  const seen = new Map<string, string>()
  for (const { family, rule, clauses } of rules) {
    const read = inspect([family, clauses], { depth: null })
    const compiled = inspect(compileRule(family, rule), { depth: null })
    assert.equal(compiled, seen.get(read) ?? compiled)
    seen.set(read, compiled)
  }
})

const register = fc.constantFrom(0, 1, 2, 8, 9, 12)
const small = fc.nat({ max: 30 })
const bytes = fc.uint8Array({ maxLength: 20 })
const optional = <T>(some: fc.Arbitrary<T>) => fc.option(some, { nil: undefined })
const loading = { dreg: register }

/** With all registers and lengths, as a rule may have that no program of sense wrote. */
const anyExpression: fc.Arbitrary<Expression> = fc.oneof(
  fc.record({ name: fc.constant('payload'), base: fc.nat({ max: 2 }), offset: small, length: small, ...loading }),
  fc.record({ name: fc.constant('payload'), base: fc.nat({ max: 2 }), offset: small, length: small, sreg: register }),
  fc.record({ name: fc.constantFrom('meta', 'ct'), key: small, ...loading }),
  fc.record({ name: fc.constantFrom('meta', 'ct'), key: small, sreg: register }),
  fc.record({ name: fc.constant('cmp'), sreg: register, op: fc.nat({ max: 6 }), data: bytes }),
  fc.record({ name: fc.constant('bitwise'), sreg: register, length: small, mask: bytes, xor: bytes, ...loading }),
  fc.record({
    name: fc.constant('lookup'),
    set: fc.constantFrom('a', '__map0'),
    sreg: register,
    dreg: optional(register),
  }),
  fc.record({ name: fc.constant('immediate'), data: bytes, ...loading }),
  fc.record({
    name: fc.constant('immediate'),
    verdict: fc.record({ code: fc.integer({ min: -6, max: 4 }) }),
    ...loading,
  }),
  fc.record({ name: fc.constant('socket'), key: small, ...loading }),
  fc.record({ name: fc.constant('fib'), result: fc.nat({ max: 4 }), flags: small, ...loading }),
  fc.record({ name: fc.constant('numgen'), modulus: small, type: fc.nat({ max: 1 }), offset: small, ...loading }),
  fc.record({
    name: fc.constant('nat'),
    ...{ type: fc.nat({ max: 1 }), family: fc.constantFrom(2, 10), flags: small },
    ...{ addressMin: optional(register), addressMax: optional(register), portMin: optional(register) },
  }),
  fc.record({ name: fc.constant('redir'), portMin: optional(register), portMax: optional(register) }),
  fc.record({ name: fc.constant('tproxy'), family: fc.constant(2), port: optional(register) }),
  fc.record({ name: fc.constant('reject'), type: small, code: optional(small) }),
  fc.record({ name: fc.constant('dynset'), set: fc.constant('a'), op: fc.nat({ max: 3 }), keyReg: register }),
  fc.record({ name: fc.constant('other'), type: fc.constantFrom('limit', 'byteorder') }),
)

test('Any rule that the kernel may have is read and printed', () => {
  fc.assert(
    fc.property(fc.constantFrom('ip', 'ip6'), fc.array(anyExpression, { maxLength: 8 }), (family, expressions) => {
      assert.equal(typeof printClauses(family, readRule(family, expressions)), 'string')
    }),
    { numRuns: 2000 },
  )
})

test('What looks much like a known rule is not taken for one', () => {
  const compare = (data: Uint8Array): Expression => ({ name: 'cmp', sreg: 1, op: 0, data })
  const address: Expression = { name: 'payload', base: 1, offset: 12, length: 4, dreg: 1 }
  const mask: Expression = {
    name: 'bitwise',
    sreg: 1,
    dreg: 1,
    length: 4,
    mask: Uint8Array.of(255, 0, 255, 0),
    xor: new Uint8Array(4),
  }
  const immediate = (dreg: number, ...bytes: number[]): Expression => ({
    name: 'immediate',
    dreg,
    data: Uint8Array.from(bytes),
  })
  const nat: Expression = { name: 'nat', type: 1, family: 2, addressMin: 1, addressMax: 2 }
  const inAll: readonly (readonly [string, readonly Expression[]])[] = [
    ['fib 1 1 2', [{ name: 'fib', dreg: 1, result: 1, flags: 1 }, compare(Uint8Array.of(2, 0, 0, 0))]],
    ['numgen inc mod 2 0', [{ name: 'numgen', dreg: 1, modulus: 2, type: 0 }, compare(new Uint8Array(4))]],
    ['ct 20 16777226', [{ name: 'ct', key: 20, direction: 1, dreg: 1 }, compare(Uint8Array.of(10, 0, 0, 1))]],
    ['[cmp]', [address, mask, compare(Uint8Array.of(10, 0, 1, 0))]],
    ['dnat to [value]', [immediate(1, 10, 0, 0, 1), immediate(2, 10, 0, 0, 9), nat]],
  ]
  for (const [text, expressions] of inAll) assert.equal(printRule('ip', expressions), text)
})
