/** Compares what becomes of packets to external addresses with kube-proxy's rules in words of their own. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Protocol } from '../../../net/address.ts'
import { contains } from '../../../net/cidr.ts'
import { externalDestinationsOf } from '../../../plan/ports/externaldestinations.ts'
import type { Endpoint, External, PortState } from '../../../plan/ports/port.ts'
import type { Family } from '../../family.ts'
import { noPolicies, unknownNode } from '../../nodeconfig.ts'
import type { KernelOptions } from '../../options.ts'
import { portState, testOptions } from '../../testing/states.ts'
import { NftablesModel } from '../../tracer/model.ts'
import type { Outcome, Packet } from '../../tracer/packet.ts'
import { addressPortBytes } from '../bytes.ts'
import { renewHeartbeat } from '../heartbeat.ts'
import { fixedPart } from '../rules/ruleset.ts'
import { TableCache } from '../sync/transaction/tablecache.ts'
import { planNode } from './node.ts'
import { placementOf, planPort } from './plan.ts'

interface World {
  readonly vip: string
  readonly externalIP: string
  readonly loadBalancerIP: string
  readonly node: string
  readonly otherOfNode: string
  readonly loopback: string
  readonly pods: string
  readonly pod: string
  /** A pod that stays in the kernel layer. */
  readonly exemptPod: string
  readonly outsider: string
  readonly ranges: readonly string[]
  readonly endpoint: (n: number) => string
}

const worlds: Readonly<Record<Family, World>> = {
  ip: {
    vip: '10.96.0.1',
    externalIP: '192.0.2.1',
    loadBalancerIP: '192.0.2.2',
    node: '172.30.0.11',
    otherOfNode: '198.51.100.11',
    loopback: '127.0.0.1',
    pods: '10.244.0.0/16',
    pod: '10.244.1.99',
    exemptPod: '10.244.1.98',
    outsider: '203.0.113.9',
    ranges: ['10.0.0.0/8', '172.30.0.0/24', '203.0.113.0/24', '203.0.113.9/32', '192.0.2.0/30'],
    endpoint: n => `10.244.${n % 2 === 0 ? 1 : 2}.${n}:${8000 + n}@${n % 2 === 0 ? 'node1' : 'node2'}`,
  },
  ip6: {
    vip: 'fd00:96::1',
    externalIP: '2001:db8::1',
    loadBalancerIP: '2001:db8::2',
    node: 'fd00:30::11',
    otherOfNode: '2001:db8:1::11',
    loopback: '::1',
    pods: 'fd00:244::/32',
    pod: 'fd00:244:1::99',
    exemptPod: 'fd00:244:1::98',
    outsider: '2001:db8:9::9',
    ranges: ['fd00::/8', 'fd00:30::/64', '2001:db8:9::/48', '2001:db8:9::9/128', '2001:db8::/126'],
    endpoint: n => `fd00:244:${n % 2 === 0 ? 1 : 2}::${n} ${8000 + n}@${n % 2 === 0 ? 'node1' : 'node2'}`,
  },
}

interface Scene {
  readonly family: Family
  readonly state: PortState & { readonly external: External }
  readonly options: KernelOptions
}

const scenes: fc.Arbitrary<Scene> = fc
  .record({
    family: fc.constantFrom<Family>('ip', 'ip6'),
    protocol: fc.constantFrom<Protocol>('TCP', 'UDP', 'SCTP'),
    numbers: fc.uniqueArray(fc.integer({ min: 1, max: 8 }), { maxLength: 5 }),
    isInternalLocal: fc.boolean(),
    policy: fc.constantFrom('Cluster', 'Local'),
    sourceRanges: fc.subarray([0, 1, 2, 3, 4]),
    affinitySeconds: fc.constantFrom(undefined, 10_800),
    tellsPods: fc.boolean(),
    masqueradeAll: fc.boolean(),
    clientAddress: fc.constantFrom('forwarded-for', 'preserve'),
    nodeportAddresses: fc.constantFrom<(world: World) => readonly string[]>(
      () => ['primary'],
      world => [`${world.otherOfNode}/${world.vip.includes(':') ? 128 : 32}`],
      world => [world.vip.includes(':') ? '::/0' : '0.0.0.0/0'],
    ),
  })
  .map(({ family, protocol, numbers, isInternalLocal, policy, sourceRanges, affinitySeconds, ...more }) => {
    const world = worlds[family]
    const all = portState('a/b/p', world.vip, numbers.map(world.endpoint)).endpoints
    const here = all.filter(({ nodeName }) => nodeName === 'node1')
    const endpoints = isInternalLocal ? here : all
    const external: External = {
      nodePort: 30_080,
      externalIPs: [world.externalIP],
      loadBalancerIPs: [world.loadBalancerIP],
      sourceRanges: sourceRanges.map(index => world.ranges[index]!),
      policy,
      endpoints: policy === 'Local' ? here : all,
      clusterEndpoints: all,
      noLocalEndpoints: policy === 'Local' && here.length === 0 && all.length > 0,
      layer: { wants: 'envoy', protocol: 'http', reason: '' },
    }
    const state = {
      ...portState('a/b/p', world.vip, []),
      port: { name: 'p', protocol, port: 80 },
      endpoints,
      noLocalEndpoints: endpoints.length === 0 && all.length > 0,
      affinitySeconds,
      external,
    }
    const options = {
      ...testOptions,
      masqueradeAll: more.masqueradeAll,
      clientAddress: more.clientAddress,
      clusterCidr: more.tellsPods ? [world.pods] : [],
      nodeportAddresses: more.nodeportAddresses(world),
    }
    return { family, state, options }
  })

const places = ['vip', 'externalIP', 'loadBalancerIP', 'node', 'otherOfNode', 'loopback', 'outsider'] as const
const senders = ['pod', 'exemptPod', 'outsider', 'node', 'loadBalancerIP', 'endpoint'] as const
const packets = fc.record({
  to: fc.constantFrom(...places),
  sender: fc.constantFrom(...senders),
  port: fc.constantFrom(80, 30_080, 81),
})

function packetOf(
  { family, state }: Scene,
  { to, sender, port }: typeof packets extends fc.Arbitrary<infer P> ? P : never,
) {
  const world = worlds[family]
  const endpoint = state.external.clusterEndpoints.find(({ nodeName }) => nodeName === 'node1')
  const source = sender === 'endpoint' ? (endpoint?.ip ?? world.pod) : world[sender]
  return {
    family,
    from: sender === 'node' || sender === 'loadBalancerIP' ? 'node' : 'pod',
    protocol: state.port.protocol.toLowerCase() as Packet['protocol'],
    source,
    destination: world[to],
    port,
    isNew: true,
  } satisfies Packet
}

/** @param toEnvoy whether the external addresses are in the overlay, for all pods but one */
function modelOf({ family, state, options }: Scene, toEnvoy = false): NftablesModel {
  const world = worlds[family]
  const model = new NftablesModel()
  for (const each of ['ip', 'ip6'] as const) model.apply([fixedPart(each, options), ...renewHeartbeat(each, 0)])
  const node = { addresses: [world.node], podCidrs: [] }
  const changes = [
    planNode(
      {
        ...unknownNode,
        node,
        policies: toEnvoy ? { ...noPolicies, clients: [world.exemptPod] } : noPolicies,
      },
      options,
    ),
    planPort(
      placementOf(
        state,
        { keys: toEnvoy ? externalDestinationsOf(state).map(addressPortBytes) : [], isShared: false },
        world.node,
      ),
      options,
    ),
  ]
  const { transaction } = new TableCache().prepare(changes.map(wanted => ({ current: new Map(), wanted })))
  model.apply(transaction.operations())
  return model
}

type Expected = 'drop' | 'refuse' | 'untouched' | { readonly to: readonly Endpoint[]; readonly masqueraded: boolean }

/** kube-proxy's rules. */
function expectedOf({ family, state, options }: Scene, packet: Packet): Expected {
  const world = worlds[family]
  const { external } = state
  const { source, destination, port } = packet
  const isPod = options.clusterCidr.length > 0 && contains(world.pods, source)
  const isOfNode = packet.from === 'node'
  if (port === 80 && destination === world.vip) {
    if (state.endpoints.length === 0) return state.noLocalEndpoints ? 'drop' : 'refuse'
    const isOutside = options.clusterCidr.length > 0 && !isPod
    return { to: state.endpoints, masqueraded: options.masqueradeAll || isOutside }
  }
  if (destination === world.vip) return 'refuse'
  const isLoadBalancer = port === 80 && destination === world.loadBalancerIP
  const isExternal = isLoadBalancer || (port === 80 && destination === world.externalIP)
  if (!isExternal && !(port === 30_080 && opensNodePorts(destination, world, options))) return 'untouched'
  if (isLoadBalancer && external.sourceRanges.length > 0) {
    const isNodeIn = external.sourceRanges.some(range => contains(range, world.node))
    const isIn = external.sourceRanges.some(range => contains(range, source))
    if (!isIn && !(isNodeIn && source === world.loadBalancerIP)) return 'drop'
  }
  if (external.clusterEndpoints.length === 0) return 'refuse'
  if (external.policy === 'Cluster') return { to: external.clusterEndpoints, masqueraded: true }
  if (isPod) return { to: external.clusterEndpoints, masqueraded: false }
  if (isOfNode) return { to: external.clusterEndpoints, masqueraded: true }
  return external.endpoints.length === 0 ? 'drop' : { to: external.endpoints, masqueraded: false }
}

function opensNodePorts(ip: string, world: World, { nodeportAddresses: [range] }: KernelOptions): boolean {
  if (range === 'primary') return ip === world.node
  return (ip === world.node || ip === world.otherOfNode) && contains(range!, ip)
}

function summaryOf({ verdict, destination, port, masqueraded }: Outcome): string {
  return `${verdict} ${destination} ${port}${masqueraded ? ' masqueraded' : ''}`
}

test('A packet goes where kube-proxy would send it, with the source that kube-proxy would give it, to each endpoint', () => {
  fc.assert(
    fc.property(scenes, fc.array(packets, { minLength: 1, maxLength: 8 }), (scene, given) => {
      const world = worlds[scene.family]
      const model = modelOf(scene)
      for (const one of given) {
        const packet = packetOf(scene, one)
        const expected = expectedOf(scene, packet)
        const localAddresses = [world.node, world.otherOfNode, world.loopback]
        const seen = new Set<string>()
        const wanted = new Set<string>()
        for (let slot = 0; slot < 5; slot++) {
          // Affinity draws one of N, then one of N - 1 and so on: the first that is drawn as 0 is taken.
          let draw = 0
          const random = (count: number) =>
            scene.state.affinitySeconds === undefined
              ? slot % count
              : draw++ === slot % scene.state.external.clusterEndpoints.length || count === 1
                ? 0
                : 1
          // Clients that it remembers would all go to one endpoint.
          const fresh = scene.state.affinitySeconds === undefined ? model : modelOf(scene)
          const outcome = fresh.trace(packet, { listeners: [], localAddresses, random })
          assert.equal(outcome.mark & 0x4000, 0)
          if (typeof expected === 'object') seen.add(summaryOf(outcome))
          else if (expected === 'drop') assert.equal(outcome.verdict, 'drop')
          else if (expected === 'refuse') assert.match(outcome.verdict, /^(reject|reset)$/)
          else assert.match(summaryOf(outcome), new RegExp(`^(forward|local) ${packet.destination} ${packet.port}$`))
        }
        if (typeof expected !== 'object') continue
        for (const { ip, port, nodeName } of expected.to) {
          const isItself = ip === packet.source && nodeName === 'node1'
          wanted.add(
            summaryOf({
              verdict: 'forward',
              destination: ip,
              port,
              masqueraded: expected.masqueraded || isItself,
            } as Outcome),
          )
        }
        assert.deepEqual([...seen].toSorted(), [...wanted].toSorted())
      }
    }),
    { numRuns: 200 },
  )
})

test('Envoy gets what kube-proxy would let in, of policy Local from elsewhere alone, and the kernel serves all else', () => {
  fc.assert(
    fc.property(scenes, fc.array(packets, { minLength: 1, maxLength: 8 }), (scene, given) => {
      const world = worlds[scene.family]
      const { state, options } = scene
      const [model, below] = [modelOf(scene, true), modelOf(scene)]
      for (const one of given) {
        const packet = packetOf(scene, one)
        const around = { localAddresses: [world.node, world.otherOfNode, world.loopback], random: () => 0 }
        const alive = model.trace(packet, { ...around, listeners: [1666, 1667] })
        const isPod = options.clusterCidr.length > 0 && contains(world.pods, packet.source)
        const isConcerned = state.external.policy === 'Cluster' || !(isPod || packet.from === 'node')
        const isKept = packet.source === world.exemptPod
        const isServed = typeof expectedOf(scene, packet) === 'object' && packet.destination !== world.vip
        if (isServed && isConcerned && !isKept && packet.protocol === 'tcp') {
          assert.equal(alive.verdict, packet.from === 'pod' ? 'tproxy' : 'redirect')
          if (packet.from === 'pod')
            assert.deepEqual([alive.destination, alive.port], [packet.destination, packet.port])
          if (packet.from === 'node') continue
        } else assert.equal(summaryOf(alive), summaryOf(below.trace(packet, { ...around, listeners: [1666, 1667] })))
        const dead = model.trace(packet, { ...around, listeners: [] })
        assert.deepEqual(dead, below.trace(packet, { ...around, listeners: [] }))
      }
    }),
    { numRuns: 300 },
  )
})
