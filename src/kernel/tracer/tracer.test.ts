import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { PortState } from '../../plan/ports/port.ts'
import { planNode } from '../nftables/elements/node.ts'
import { nothingRedirected, placementOf, planPort } from '../nftables/elements/plan.ts'
import { planRuleset } from '../nftables/render.ts'
import { TableCache } from '../nftables/sync/transaction/tablecache.ts'
import { unknownNode } from '../nodeconfig.ts'
import { envoyAlive, envoyDead, http, modelOf, onlyKernel, packetTo, states } from '../testing/packets.ts'
import { adding, portState, testOptions } from '../testing/states.ts'
import { NftablesModel } from './model.ts'
import type { Outcome } from './packet.ts'

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

test('An endpoint that is its own client is masqueraded, another client is not', () => {
  const model = modelOf([onlyKernel])
  const outcome = (source: string): Outcome => model.trace(packetTo(onlyKernel, { source }), envoyDead)
  assert.equal(outcome('10.1.0.1').masqueraded, true)
  assert.equal(outcome('10.1.0.2').masqueraded, false)
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
  return planPort(placementOf(state, nothingRedirected), testOptions)
}
