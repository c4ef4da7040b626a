import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inspect } from 'node:util'
import type { KernelOptions } from '../../layer.ts'
import { planRuleset } from '../../render.ts'
import { portState, testOptions } from '../../testing.ts'
import { ruleClauses } from '../operations.ts'
import { compileRule } from './compile.ts'

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
