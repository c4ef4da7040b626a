import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { PortState } from '../../plan/ports/port.ts'
import { addressPortBytes } from '../nftables/bytes.ts'
import { nothingRedirected, type Redirected } from '../nftables/elements/plan.ts'
import { noPolicies } from '../nodeconfig.ts'
import { portState } from '../testing/states.ts'
import { batchOf, Members, renderBatch } from './batch.ts'
import { servicesChain } from './chains.ts'
import { type PortRules, planNode, planPort } from './ports.ts'

const node = { nodeName: 'node1', ownsClusterIPs: false }
const endpoints = (count: number) => Array.from({ length: count }, (_, n) => `10.1.0.${n + 1}:8080@node2`)

test('every endpoint is as probable as every other', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 200 }), count => {
      let left = 1
      for (const rule of planPort(portState('a/a/http', '10.0.0.1', endpoints(count)), nothingRedirected, node).chain!
        .rules) {
        const chance = Number(/--probability (\S+)/.exec(rule)?.[1] ?? 1)
        assert.ok(Math.abs(left * chance - 1 / count) < 1e-6)
        left *= 1 - chance
      }
    }),
  )
})

function redirectedTo({ vip: ip, port: { port } }: PortState, set: 'envoy' | 'own' | undefined): Redirected {
  return set === undefined ? nothingRedirected : { keys: [addressPortBytes({ ip, port })], isShared: set === 'envoy' }
}

test('an endpoint on this node may be its own client, one elsewhere never is', () => {
  const state = portState('a/a/http', 'fd00::1', ['fd00:1::1 8080@node1', 'fd00:1::2 8080@node2'])
  for (const set of ['envoy', 'own'] as const) {
    assert.deepEqual(planPort(state, redirectedTo(state, set), node).members, [
      'lightpath-hairpin6 fd00:1::1,tcp:8080,fd00:1::1',
      `lightpath-${set}6 fd00::1,tcp:80`,
    ])
  }
})

test('a port that may go to Envoy is a candidate, be it there or not, where the kernel records calls', () => {
  const layer = { wants: 'envoy', protocol: 'http', reason: '' } as const
  const state = portState('a/a/http', '10.0.0.1', endpoints(1), { layer })
  const candidate = 'lightpath-candidates4 10.0.0.1,tcp:80'
  assert.deepEqual(planPort(state, nothingRedirected, { ...node, tracksUse: true }).members, [candidate])
  assert.deepEqual(planPort(state, nothingRedirected, node).members, [])
  assert.deepEqual(planPort({ ...state, endpoints: [] }, nothingRedirected, { ...node, tracksUse: true }).members, [
    'lightpath-refuse4 10.0.0.1,tcp:80',
  ])
})

test('cluster IPs and their ranges are in the sets where all of them are ours, and only there', () => {
  const families = ['IPv4', 'IPv6'] as const
  const serviceRanges = ['10.0.0.0/16', '10.0.128.0/17', 'fd00::/112', '10.9.0.1/32']
  const members = (ownsClusterIPs: boolean) => [
    ...planPort(portState('a/a/http', '10.0.0.1', []), nothingRedirected, { ...node, ownsClusterIPs }).members,
    ...planNode({ policies: { ...noPolicies, clients: ['fd00:1::1'] }, serviceRanges }, { families, ownsClusterIPs })
      .members,
  ]
  assert.deepEqual(members(false), ['lightpath-refuse4 10.0.0.1,tcp:80', 'lightpath-clients6 fd00:1::1'])
  assert.deepEqual(members(true), [
    'lightpath-vips4 10.0.0.1',
    'lightpath-refuse4 10.0.0.1,tcp:80',
    'lightpath-ranges4 10.0.0.0/16',
    'lightpath-ranges4 10.9.0.1',
    'lightpath-clients6 fd00:1::1',
    'lightpath-ranges6 fd00::/112',
  ])
})

test('at no member in between is a known pod taken for an unknown one', () => {
  const families = ['IPv4', 'IPv6'] as const
  const policies = { ...noPolicies, known: ['10.1.0.1', 'fd00:1::1', '10.1.0.2'] }
  const [without, withPolicy] = [noPolicies, policies].map(policies =>
    planNode({ policies, serviceRanges: [] }, { families, ownsClusterIPs: false }),
  )
  const members = new Members()
  const apply = (before: PortRules | undefined, after: PortRules | undefined, text: 'first' | 'last') =>
    renderBatch(batchOf([{ before, after }], members), ['ip', 'ip6'])
      [text].trim()
      .split('\n')
  const areStrict = (lines: readonly string[]) => lines.map(line => /strict/.test(line))
  assert.deepEqual(areStrict(apply(without, withPolicy, 'first')), [false, false, false, true, true, true, true])
  assert.deepEqual(areStrict(apply(withPolicy, without, 'last')), [true, true, true, true, false, false, false])
})

/** Models the kernel: sets, chains and what leads to them. Refuses what iptables-restore and ipset would. */
class Model {
  readonly members = new Set<string>()
  readonly chains = new Map<string, string[]>()
  readonly dispatches = new Set<string>()

  apply(texts: ReturnType<typeof renderBatch>): void {
    this.#sets(texts.first)
    for (const text of texts.rules.values()) this.#rules(text)
    this.#sets(texts.last)
  }

  #sets(text: string): void {
    for (const [, verb, member] of text.matchAll(/^(add|del) (.*)$/gm)) {
      assert.equal(this.members.has(member!), verb === 'del', `${verb} ${member}`)
      if (verb === 'add') this.members.add(member!)
      else this.members.delete(member!)
    }
  }

  #rules(text: string): void {
    for (const line of text.split('\n').filter(line => /^[:-]/.test(line))) {
      const [verb, chain, ...rest] = line.startsWith(':') ? [':', line.slice(1).split(' ')[0]!] : line.split(' ')
      const rule = rest.join(' ')
      const target = /-j (LP-\S+)$/.exec(rule)?.[1]
      if (target !== undefined) assert.ok(this.chains.has(target), `${target} is there before it is led to`)
      if (verb === ':') this.chains.set(chain!, [])
      else if (verb === '-A' && chain === servicesChain) this.dispatches.add(rule)
      else if (verb === '-D' && chain === servicesChain) assert.ok(this.dispatches.delete(rule))
      else if (verb === '-A') this.chains.get(chain!)!.push(rule)
      else if (verb === '-F') this.chains.set(chain!, [])
      else {
        assert.ok(![...this.dispatches].some(dispatch => dispatch.endsWith(chain!)), `nothing leads to ${chain}`)
        assert.ok(this.chains.delete(chain!))
      }
    }
  }
}

const portNames = ['a', 'b', 'c']
const wishes = fc.array(
  fc.record({
    port: fc.nat(2),
    count: fc.integer({ min: -1, max: 4 }),
    overlay: fc.constantFrom('envoy', 'own', undefined),
    local: fc.boolean(),
  }),
  { maxLength: 3 },
)

test('after any changes the kernel has exactly what the ports need, at every step in an order that it takes', () => {
  fc.assert(
    fc.property(fc.array(wishes, { maxLength: 6 }), rounds => {
      const [model, members] = [new Model(), new Members()]
      const has = new Map<string, PortRules | undefined>()
      for (const round of rounds) {
        const wanted = new Map<string, PortRules | undefined>()
        for (const { port, count, overlay, local } of round) {
          const name = portNames[port]!
          // Endpoints of several ports: what they share goes with the last of them.
          const own = endpoints(Math.max(count, 0)).map(text => (local ? text.replace('node2', 'node1') : text))
          const state = portState(`n/${name}/http`, `10.0.0.${port + 1}`, own, { noLocalEndpoints: local })
          wanted.set(name, count < 0 ? undefined : planPort(state, redirectedTo(state, overlay), node))
        }
        const changes = [...wanted].map(([name, after]) => ({ before: has.get(name), after }))
        model.apply(renderBatch(batchOf(changes, members), ['ip', 'ip6']))
        for (const [name, rules] of wanted) has.set(name, rules)
        const all = [...has.values()].flatMap(rules => rules ?? [])
        assert.deepEqual(model.members, new Set(all.flatMap(rules => rules.members)))
        assert.deepEqual(model.dispatches, new Set(all.flatMap(({ chain }) => chain?.dispatch ?? [])))
        const chains = all.flatMap(({ chain }) => (chain ? [[chain.name, chain.rules] as const] : []))
        assert.deepEqual(model.chains, new Map(chains))
      }
    }),
  )
})
