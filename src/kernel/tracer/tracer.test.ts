import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Protocol } from '../../net/address.ts'
import type { PortState } from '../../plan/ports/port.ts'
import { transportOf } from '../family.ts'
import { addressPortBytes } from '../nftables/bytes.ts'
import { calledSet } from '../nftables/elements/elements.ts'
import { planNode } from '../nftables/elements/node.ts'
import { placementOf, planPort } from '../nftables/elements/plan.ts'
import { renewHeartbeat } from '../nftables/heartbeat.ts'
import { planRuleset } from '../nftables/render.ts'
import { TableCache } from '../nftables/sync/tablecache.ts'
import { unknownNode } from '../nodeconfig.ts'
import { adding, portState, testOptions } from '../testing/states.ts'
import { NftablesModel } from './model.ts'
import type { Outcome, Packet, TracedNode } from './tracer.ts'

const envoyAlive: TracedNode = { listener: 1666, localAddresses: ['172.30.0.1'], random: () => 0 }
const envoyDead: TracedNode = { ...envoyAlive, listener: undefined }

function modelOf(states: readonly PortState[]): NftablesModel {
  const model = new NftablesModel()
  model.apply(planRuleset(states, undefined, testOptions))
  for (const family of ['ip', 'ip6'] as const) model.apply(renewHeartbeat(family, 0))
  return model
}

function packetTo(state: PortState, more: Partial<Packet> = {}): Packet {
  const { family, vip, port } = state
  return {
    family: family === 'IPv4' ? 'ip' : 'ip6',
    from: 'pod',
    protocol: transportOf[port.protocol],
    source: family === 'IPv4' ? '10.1.9.9' : 'fd01::99',
    destination: vip,
    port: port.port,
    isNew: true,
    ...more,
  }
}

const forEnvoy = { layer: { wants: 'envoy', protocol: 'http', reason: '' } } as const
const http = portState('a/http/http', '10.0.0.1', ['10.1.0.1:8080'], forEnvoy)
const onlyKernel = portState('a/tcp/tcp', '10.0.0.2', ['10.1.0.1:8080', '10.1.0.2:8080'])

test('where use is recorded, a new connection to a port for Envoy is, be it in Envoy or not, and no other', () => {
  const waiting = { layer: { wants: 'kernel', reason: '', waitsAs: 'http' } } as const
  const waits = portState('a/waits/http', '10.0.0.3', ['10.1.0.1:8080'], waiting)
  const six = portState('a/six/http', 'fd00::1', ['fd01::1 8080'], waiting)
  const model = new NftablesModel()
  const options = { ...testOptions, tracksUse: true }
  model.apply(planRuleset([http, onlyKernel, waits, six], undefined, options))
  for (const family of ['ip', 'ip6'] as const) model.apply(renewHeartbeat(family, 0))
  const called = () => [...model.keys('ip', calledSet)!, ...model.keys('ip6', calledSet)!]
  for (const state of [http, waits, six]) {
    model.trace(packetTo(state, { isNew: false }), envoyAlive)
    assert.ok(!called().includes(keyOf(state)))
    model.trace(packetTo(state, { from: state === six ? 'node' : 'pod' }), envoyDead)
    assert.ok(called().includes(keyOf(state)))
  }
  assert.equal(model.trace(packetTo(waits), envoyAlive).verdict, 'forward')
  model.trace(packetTo(onlyKernel), envoyAlive)
  assert.equal(called().length, 3)
})

const keyOf = ({ vip, port }: PortState) => addressPortBytes({ ip: vip, port: port.port })

/** Ports of distinct VIP, protocol and number, some of them for Envoy, with endpoints of up to 5 addresses. */
const states = fc
  .uniqueArray(
    fc.record({
      vip: fc.constantFrom('10.0.0.1', '10.0.0.2', 'fd00::1', 'fd00::2'),
      protocol: fc.constantFrom<Protocol>('TCP', 'UDP', 'SCTP'),
      port: fc.constantFrom(53, 80, 1666),
      endpoints: fc.uniqueArray(fc.integer({ min: 1, max: 9 }), { maxLength: 5 }),
      wantsEnvoy: fc.boolean(),
      noLocalEndpoints: fc.boolean(),
      affinitySeconds: fc.constantFrom(undefined, 10_800),
    }),
    { selector: ({ vip, protocol, port }) => `${vip} ${protocol} ${port}`, maxLength: 12 },
  )
  .map(ports =>
    ports.map(({ vip, protocol, port, endpoints, wantsEnvoy, noLocalEndpoints, affinitySeconds }, index) =>
      portState(
        `ns/s${index}/p`,
        vip,
        endpoints.map(n => (vip.includes(':') ? `fd01::${n} ${8000 + n}` : `10.1.0.${n}:${8000 + n}`)),
        {
          port: { name: 'p', protocol, port },
          noLocalEndpoints,
          affinitySeconds,
          ...(wantsEnvoy && affinitySeconds === undefined ? forEnvoy : {}),
        },
      ),
    ),
  )

function refusalOf(state: PortState): Outcome['verdict'] {
  if (state.noLocalEndpoints) return 'drop'
  return state.port.protocol === 'TCP' ? 'reset' : 'reject'
}

test('A packet to a VIP:port comes out at one of the endpoints of that port, and at each of them', () => {
  fc.assert(
    fc.property(states, fc.constantFrom('pod', 'node'), (ports, from) => {
      const model = modelOf(ports)
      model.apply([adding('ip', 'overlay_off', 'ip'), adding('ip6', 'overlay_off', 'ip6')])
      for (const state of ports) {
        const seen = new Set<string>()
        for (let slot = 0; slot < Math.max(1, state.endpoints.length); slot++) {
          const node = { ...envoyDead, random: (count: number) => slot % count }
          // Another client each time: one with affinity would stay where it was first.
          const source = state.family === 'IPv4' ? `10.1.8.${slot}` : `fd01::8:${slot}`
          const outcome = model.trace(packetTo(state, { from, source }), node)
          if (state.endpoints.length === 0) assert.equal(outcome.verdict, refusalOf(state))
          else assert.equal(outcome.verdict, 'forward')
          seen.add(`${outcome.destination} ${outcome.port}`)
        }
        if (state.endpoints.length > 0) {
          assert.deepEqual([...seen].toSorted(), state.endpoints.map(({ ip, port }) => `${ip} ${port}`).toSorted())
        }
      }
    }),
  )
})

test('A pod reaches Envoy, at the address of the VIP, for the ports in the overlay and for no others', () => {
  fc.assert(
    fc.property(states, ports => {
      const model = modelOf(ports)
      for (const state of ports) {
        const { verdict, destination, mark, connectionMark } = model.trace(packetTo(state), envoyAlive)
        const isUp = state.layer.wants === 'envoy' && state.port.protocol === 'TCP' && state.endpoints.length > 0
        assert.equal(verdict === 'tproxy', isUp)
        if (isUp)
          assert.deepEqual(
            { destination, mark, connectionMark },
            { destination: state.vip, mark: 0x8000, connectionMark: 0x8000 },
          )
        else assert.equal(mark, 0)
      }
    }),
  )
})

test('What is not for a VIP passes as it came', () => {
  fc.assert(
    fc.property(states, ports => {
      const outcome = modelOf(ports).trace(packetTo(http, { destination: '192.0.2.1' }), envoyAlive)
      const { verdict, destination, port, mark } = outcome
      const { port: asked } = http.port
      assert.deepEqual(
        { verdict, destination, port, mark },
        { verdict: 'forward', destination: '192.0.2.1', port: asked, mark: 0 },
      )
    }),
  )
})

test('A port that a VIP does not have is refused at once; without a kube-proxy beside, and for nobody else', () => {
  fc.assert(
    fc.property(states, fc.constantFrom('pod', 'node'), (ports, from) => {
      for (const state of ports) {
        const packet = packetTo(state, { port: 9999, from })
        const refused = state.port.protocol === 'TCP' ? 'reset' : 'reject'
        assert.equal(modelOf(ports).trace(packet, envoyAlive).verdict, refused)
        const beside = new NftablesModel()
        beside.apply(planRuleset(ports, undefined, { ...testOptions, ownsClusterIPs: false }))
        assert.equal(beside.trace(packet, envoyAlive).verdict, 'forward')
        // Connections that were open before, such as Envoy's, pass.
        assert.equal(modelOf(ports).trace({ ...packet, isNew: false }, envoyAlive).verdict, 'forward')
      }
    }),
  )
})

test('An address of the Service range that no Service has is dropped, ports of Services are served', () => {
  const node = { ...unknownNode, serviceRanges: ['10.0.0.0/16', '10.0.0.0/24', 'fd00::/108'] }
  fc.assert(
    fc.property(states, fc.constantFrom('pod', 'node'), (ports, from) => {
      const model = modelOf(ports)
      const change = {
        current: planNode(unknownNode, testOptions),
        wanted: planNode(node, testOptions),
      }
      model.apply(new TableCache().prepare([change]).transaction.operations())
      model.apply([adding('ip', 'overlay_off', 'ip'), adding('ip6', 'overlay_off', 'ip6')])
      assert.equal(model.trace(packetTo(http, { destination: '10.0.77.7', from }), envoyDead).verdict, 'drop')
      assert.equal(model.trace(packetTo(http, { destination: '10.9.77.7', from }), envoyDead).verdict, 'forward')
      for (const state of ports) {
        const expected = state.endpoints.length === 0 ? refusalOf(state) : 'forward'
        assert.equal(model.trace(packetTo(state, { from }), envoyDead).verdict, expected)
      }
    }),
  )
})

test('While Envoy is dead, a new connection of a pod takes the kernel layer', () => {
  const { verdict, destination, port } = modelOf([http]).trace(packetTo(http), envoyDead)
  assert.deepEqual({ verdict, destination, port }, { verdict: 'forward', destination: '10.1.0.1', port: 8080 })
})

test('A connection of Envoy stays with Envoy, also when its port has left the overlay', () => {
  const packet = packetTo(http, { isNew: false, connectionMark: 0x8000 })
  assert.equal(modelOf([]).trace(packet, envoyAlive).mark, 0x8000)
})

test('A process of the node is redirected to Envoy, and Envoy itself is not', () => {
  const model = modelOf([http])
  const { verdict, port } = model.trace(packetTo(http, { from: 'node' }), envoyAlive)
  assert.deepEqual({ verdict, port }, { verdict: 'redirect', port: 1666 })
  // It has endpoints to connect to; a VIP is none of its business.
  assert.equal(model.trace(packetTo(http, { from: 'node', mark: 0x1000 }), envoyAlive).verdict, 'reset')
})

test('A pod on a bridge is redirected to Envoy, and takes the kernel layer while Envoy is dead', () => {
  const model = modelOf([http])
  const { verdict, port } = model.trace(packetTo(http, { isBridged: true }), envoyAlive)
  assert.deepEqual({ verdict, port }, { verdict: 'redirect', port: 1666 })
  assert.equal(model.trace(packetTo(http, { isBridged: true }), envoyDead).verdict, 'forward')
})

test('With the overlay switched off everything new takes the kernel layer', () => {
  const model = modelOf([http])
  model.apply([adding('ip', 'overlay_off', 'ip')])
  for (const from of ['pod', 'node'] as const) {
    const { verdict, destination } = model.trace(packetTo(http, { from }), envoyAlive)
    assert.deepEqual({ verdict, destination }, { verdict: 'forward', destination: '10.1.0.1' })
  }
})

test('A pod that is to stay in the kernel layer does, and others go to Envoy still', () => {
  const model = modelOf([http])
  model.apply([adding('ip', 'kernel-clients', '10.1.9.1')])
  const verdict = (source: string) => model.trace(packetTo(http, { source }), envoyAlive).verdict
  assert.deepEqual([verdict('10.1.9.1'), verdict('10.1.9.2')], ['forward', 'tproxy'])
})

test('The port of Envoy refuses clients that were not redirected there, and a Service on that very port works', () => {
  const port = { name: 'p', protocol: 'TCP' as const, port: 1666 }
  const service = portState('a/b/p', '10.0.0.3', ['172.30.0.1:1666'], { port })
  const model = modelOf([service])
  const direct = packetTo(service, { destination: '172.30.0.1' })
  assert.equal(model.trace(direct, envoyAlive).verdict, 'reset')
  assert.equal(model.trace(packetTo(service), envoyAlive).verdict, 'local')
})

test('An endpoint that is its own client is masqueraded, another client is not', () => {
  const model = modelOf([onlyKernel])
  const outcome = (source: string): Outcome => model.trace(packetTo(onlyKernel, { source }), envoyDead)
  assert.equal(outcome('10.1.0.1').masqueraded, true)
  assert.equal(outcome('10.1.0.2').masqueraded, false)
})

test('Marks of others are left alone', () => {
  const outcome = modelOf([http]).trace(packetTo(http, { mark: 0x4, connectionMark: 0x8 }), envoyAlive)
  assert.deepEqual([outcome.mark, outcome.connectionMark], [0x8004, 0x8008])
})

test('With affinity a client stays with its endpoint, over changes of other endpoints, and loses one that is gone', () => {
  const sticky = (...endpoints: string[]) => portState('a/b/http', '10.0.0.1', endpoints, { affinitySeconds: 60 })
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.integer({ min: 1, max: 9 }), { minLength: 1 }),
      fc.array(fc.nat(), { minLength: 30, maxLength: 30 }),
      fc.array(fc.record({ client: fc.constantFrom('10.1.9.1', '10.1.9.2'), toggled: fc.integer({ min: 1, max: 9 }) })),
      (numbers, randoms, steps) => {
        const at = (n: number) => `10.1.0.${n}:8080`
        const model = modelOf([sticky(...numbers.map(at))])
        const endpoints = new Set(numbers)
        const home = new Map<string, string>()
        let turn = 0
        const node = { ...envoyDead, random: (count: number) => randoms[turn++ % randoms.length]! % count }
        for (const { client, toggled } of steps) {
          const { verdict, destination } = model.trace(packetTo(http, { source: client }), node)
          assert.equal(verdict, 'forward')
          const known = home.get(client)
          if (known !== undefined) assert.equal(destination, known)
          assert.ok(endpoints.has(Number(destination.split('.')[3])))
          home.set(client, destination)
          const before = [...endpoints].map(at)
          if (!endpoints.delete(toggled)) endpoints.add(toggled)
          if (endpoints.size === 0) endpoints.add(toggled)
          const change = { current: plan(sticky(...before)), wanted: plan(sticky(...[...endpoints].map(at))) }
          model.apply(new TableCache().prepare([change]).transaction.operations())
          if (!endpoints.has(toggled)) {
            for (const [who, where] of home) if (where === `10.1.0.${toggled}`) home.delete(who)
          }
        }
      },
    ),
  )
})

function plan(state: PortState) {
  return planPort(placementOf(state, []), testOptions)
}

test('A connection of the node that is redirected to Envoy is refused where an unprivileged process has the port', () => {
  const model = modelOf([http])
  model.apply([adding('ip', 'envoy', `${http.vip} . 80`)])
  const packet = packetTo(http, { from: 'node' })
  assert.equal(model.trace(packet, envoyAlive).verdict, 'redirect')
  assert.equal(model.trace(packet, { ...envoyDead, impostor: 1666 }).verdict, 'reset')
})
