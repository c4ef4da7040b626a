/**
 * In whatever order events come, Envoy is no way around a policy, by either kernel backend. The network plugin of the
 * model enforces where packets are forwarded, so it sees a client's packet to an endpoint in the kernel layer, and
 * nothing that Envoy sends.
 */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { frontendsOf } from '../envoy/resources/frontend.ts'
import { planNode as planIptablesNode, planPort as planIptablesPort } from '../kernel/iptables/ports.ts'
import { planNode as planNftablesNode } from '../kernel/nftables/elements/node.ts'
import { placementOf, planPort as planNftablesPort } from '../kernel/nftables/elements/plan.ts'
import { renewHeartbeat } from '../kernel/nftables/heartbeat.ts'
import { planRuleset } from '../kernel/nftables/render.ts'
import { TableCache } from '../kernel/nftables/sync/transaction/tablecache.ts'
import { unknownNode } from '../kernel/nodeconfig.ts'
import { meantForEnvoy } from '../kernel/overlay.ts'
import { IptablesModel } from '../kernel/testing/iptablesmodel.ts'
import { testOptions } from '../kernel/testing/states.ts'
import { NftablesModel } from '../kernel/tracer/model.ts'
import type { Outcome, Packet } from '../kernel/tracer/packet.ts'
import { TestPlan } from '../plan/testing.ts'
import { type Direction, type Pod, type Policy, selects } from '../services/objects/networkpolicy.ts'
import { describeKey, type KubeObject, keyOf } from '../services/objects/objects.ts'
import { aNode, anEndpoint, aService, aSlice, put, remove } from '../services/testing.ts'

function aPod(number: number, namespace = 'a', app = 'x'): Pod {
  const addresses = [`10.1.0.${number}`]
  return { kind: 'Pod', namespace, name: `p${number}`, labels: { app }, nodeName: 'node1', addresses }
}

const namespaces = fc.constantFrom('a', 'b')
const node = { ...aNode('z'), addresses: ['172.30.0.1'] }
const services = [
  aService({ namespace: 'a', clusterIPs: ['10.0.0.1'] }),
  aService({ namespace: 'b', clusterIPs: ['10.0.0.2'] }),
]

const pods = fc
  .record({ number: fc.integer({ min: 1, max: 4 }), namespace: namespaces, app: fc.constantFrom('x', 'y') })
  .map(({ number, namespace, app }) => aPod(number, namespace, app))
const restricts = fc.constantFrom<readonly Direction[]>(['ingress'], ['egress'], ['ingress', 'egress'])
const policies: fc.Arbitrary<Policy> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc
      .record({ namespace: namespaces, name: fc.constantFrom('p', 'q'), restricts, onlyX: fc.boolean() })
      .map(
        ({ onlyX, ...policy }): Policy => ({
          kind: 'NetworkPolicy',
          ...policy,
          podSelector: { matchLabels: onlyX ? { app: 'x' } : {}, matchExpressions: [] },
        }),
      ),
  },
  fc
    .record({ namespace: fc.constantFrom('', 'a'), restricts })
    .map((policy): Policy => ({ kind: 'CiliumNetworkPolicy.cilium.io', name: 'c', ...policy })),
)
const slices = fc
  .record({
    namespace: namespaces,
    ips: fc.uniqueArray(fc.constantFrom('10.1.0.1', '10.1.0.2', '10.1.0.3', '10.1.0.4', '172.30.0.1', '10.9.9.9'), {
      minLength: 1,
      maxLength: 3,
    }),
    isPod: fc.boolean(),
  })
  .map(({ namespace, ips, isPod }) =>
    aSlice(
      ips.map(ip => anEndpoint(ip, { isPod })),
      { namespace },
    ),
  )

/** A pod runs before the agent hears of it. */
const steps = fc.oneof(
  fc.record({ object: pods, is: fc.constantFrom('there', 'told', 'gone') }),
  fc.record({ object: policies, is: fc.constantFrom('told', 'told', 'gone') }),
  fc.record({ object: slices, is: fc.constant('told') }),
)

function keyText(object: KubeObject): string {
  return describeKey(keyOf(object))
}

/** What a kernel does with a packet while Envoy listens. */
type Kernel = (packet: Packet) => Outcome['verdict']

/** The kernel as the agent writes it by a backend, with every port in Envoy that may be. */
type Program = (plan: TestPlan) => Kernel

const programs: Readonly<Record<string, Program>> = { nftables: byNftables, iptables: byIptables }

function byNftables(plan: TestPlan): Kernel {
  const model = new NftablesModel()
  model.apply(planRuleset([], undefined, testOptions))
  model.apply(renewHeartbeat('ip', 0))
  const wanted = [
    planNftablesNode({ ...unknownNode, node, policies: plan.policies.facts }, testOptions),
    ...[...plan.states()].map(state =>
      planNftablesPort(
        placementOf(
          state,
          meantForEnvoy(state, () => true),
          undefined,
        ),
        testOptions,
      ),
    ),
  ]
  model.apply(
    new TableCache().prepare(wanted.map(each => ({ current: new Map(), wanted: each }))).transaction.operations(),
  )
  const envoy = { listeners: [1666, 1667], localAddresses: node.addresses, random: () => 0 }
  return packet => model.trace(packet, envoy).verdict
}

function byIptables(plan: TestPlan): Kernel {
  const ports = [...plan.states()].map(state =>
    planIptablesPort(
      state,
      meantForEnvoy(state, () => true),
      testOptions,
    ),
  )
  const ofNode = planIptablesNode({ ...unknownNode, policies: plan.policies.facts }, testOptions)
  const model = new IptablesModel([ofNode, ...ports].flatMap(({ members }) => members))
  return packet => model.trace(packet)
}

class World {
  readonly plan = new TestPlan({ knowledge: { tellsPods: true, podRanges: [] } })
  readonly #pods = new Map<string, Pod>()
  readonly #policies = new Map<string, Policy>()
  #connections: { readonly client: string; readonly endpoint: string }[] = []
  readonly #program: Program
  #kernel: Kernel = () => 'drop'

  constructor(program: Program) {
    this.#program = program
    this.plan.tell([node, ...services].map(put))
    for (const number of [1, 2]) this.apply(aPod(number), 'told')
    this.apply(aSlice([anEndpoint('10.1.0.2')], { namespace: 'a' }), 'told')
    this.check()
  }

  apply(object: KubeObject, is: string): void {
    const key = keyText(object)
    if (object.kind === 'Pod') {
      // The address is this pod's from now on, and the connections of its former owner have ended.
      const [ip] = object.addresses
      const before = [...this.#pods.values()].find(({ addresses }) => addresses[0] === ip)
      const isSame = before?.namespace === object.namespace && before.labels.app === object.labels.app
      if (is === 'gone' || (before && !isSame)) {
        this.#connections = this.#connections.filter(({ client, endpoint }) => ![client, endpoint].includes(ip!))
      }
      if (before && !isSame) {
        this.#pods.delete(keyText(before))
        this.plan.tell([remove(before)])
      }
      if (is === 'gone') this.#pods.delete(key)
      else this.#pods.set(key, object)
    } else if (object.kind !== 'EndpointSlice') {
      if (is === 'gone') this.#policies.delete(key)
      else this.#policies.set(key, object as Policy)
    }
    if (is !== 'there') this.plan.tell([is === 'gone' ? remove(object) : put(object)])
    this.#kernel = this.#program(this.plan)
  }

  /** Whether the network plugin would let the packet through, had it been forwarded. */
  #lets(client: string, endpoint: string): boolean {
    const [from, to] = [client, endpoint].map(ip => [...this.#pods.values()].find(pod => pod.addresses[0] === ip))
    return to !== undefined && !this.#isSelected(from!, 'egress') && !this.#isSelected(to, 'ingress')
  }

  #isSelected(pod: Pod, direction: Direction): boolean {
    return [...this.#policies.values()].some(
      policy =>
        ['', pod.namespace].includes(policy.namespace) &&
        policy.restricts.includes(direction) &&
        (policy.kind !== 'NetworkPolicy' || selects(policy.podSelector, pod.labels)),
    )
  }

  #passes(packet: Partial<Packet>): boolean {
    const whole: Packet = {
      family: 'ip',
      from: 'pod',
      protocol: 'tcp',
      source: node.addresses[0]!,
      destination: '10.0.0.1',
      port: 80,
      isNew: true,
      ...packet,
    }
    return ['tproxy', 'forward', 'local'].includes(this.#kernel(whole))
  }

  /**
   * Open connections in Envoy end by themselves or are what the plugin lets through; then everybody connects to
   * everything, and is served by one of the layers.
   */
  check(): void {
    this.#connections = this.#connections.filter(
      ({ client, endpoint }) =>
        this.#passes({ source: client, isNew: false, connectionMark: testOptions.steeringMark }) &&
        this.#passes({ from: 'node', destination: endpoint, port: 8080, isNew: false, mark: testOptions.envoyMark }),
    )
    for (const { client, endpoint } of this.#connections) {
      assert.ok(this.#lets(client, endpoint), `an open connection leads from ${client} to ${endpoint}`)
    }
    for (const pod of this.#pods.values())
      for (const state of this.plan.states()) this.#connect(pod.addresses[0]!, state.id)
  }

  open(): readonly string[] {
    return this.#connections.map(({ client, endpoint }) => `${client} ${endpoint}`)
  }

  #connect(client: string, id: string): void {
    const state = this.plan.get(id)!
    const packet: Packet = {
      family: 'ip',
      from: 'pod',
      protocol: 'tcp',
      source: client,
      destination: state.vip,
      port: 80,
      isNew: true,
    }
    const verdict = this.#kernel(packet)
    if (state.endpoints.length > 0) assert.ok(['tproxy', 'forward', 'local'].includes(verdict), `${client}: ${verdict}`)
    if (verdict !== 'tproxy') return
    for (const { ip } of frontendsOf(state)[0]!.endpoints) {
      if (!this.#passes({ from: 'node', destination: ip, port: 8080, mark: testOptions.envoyMark })) continue
      assert.ok(this.#lets(client, ip), `a new connection leads from ${client} to ${ip}`)
      this.#connections.push({ client, endpoint: ip })
    }
  }
}

for (const [backend, program] of Object.entries(programs)) {
  test(`for all histories, no packet reaches an endpoint through Envoy that would not have reached it by the kernel layer, with ${backend}`, () => {
    fc.assert(
      fc.property(fc.array(steps, { maxLength: 16 }), history => {
        const world = new World(program)
        for (const { object, is } of history) {
          world.apply(object, is)
          world.check()
        }
      }),
      { numRuns: 150 },
    )
  })

  test(`a client of a Service whose endpoints are pods that no policy selects gets to one through Envoy, with ${backend}`, () => {
    const world = new World(program)
    assert.equal(world.plan.get('a/whoami/http')?.layer.wants, 'envoy')
    assert.deepEqual(world.open(), ['10.1.0.1 10.1.0.2', '10.1.0.2 10.1.0.2'])
  })
}
