import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { compareEndpoints, type Endpoint, type External, type PortState } from '../../../plan/ports/port.ts'
import { belowFromOutside, inWords, portState, testOptions } from '../../testing/states.ts'
import { addressPortBytes } from '../bytes.ts'
import { durationText } from '../clauses/words.ts'
import { ruleText } from '../operations.ts'
import { affinityChain } from './affinity.ts'
import { elementName } from './elements.ts'
import { frontendKey } from './ownobjects.ts'
import { place } from './placement.ts'
import { difference, nothingRedirected, placementOf, planPort } from './plan.ts'
import { assignSlots, slotValue } from './slots.ts'

function plan(state: PortState, redirected = nothingRedirected, families = testOptions.families) {
  const elements = planPort(placementOf(state, redirected), { families, nodeName: 'node1', ownsClusterIPs: false })
  return Object.fromEntries(inWords(elements))
}

test('A port with endpoints jumps to the chain of their number, and each endpoint has a slot', () => {
  assert.deepEqual(plan(portState('a/b/http', '10.0.0.1', ['10.1.0.1:8080@node2', '10.1.0.2:8081@node2'])), {
    'ip services 10.0.0.1 . tcp . 80': 'goto endpoints-tcp-2',
    'ip endpoints-tcp 10.0.0.1 . 80 . 0': '10.1.0.1 . 8080',
    'ip endpoints-tcp 10.0.0.1 . 80 . 1': '10.1.0.2 . 8081',
  })
})

test('UDP, SCTP and IPv6 ports have maps of their own', () => {
  const udp = portState('a/b/dns', '10.0.0.1', ['10.1.0.1:53@node2'], { port: { name: '', protocol: 'UDP', port: 53 } })
  const sctp = portState('a/b/s', 'fd00::1', ['fd01::1 9@node2'], { port: { name: '', protocol: 'SCTP', port: 9 } })
  assert.deepEqual(plan(udp), {
    'ip services 10.0.0.1 . udp . 53': 'goto endpoints-udp-1',
    'ip endpoints-udp 10.0.0.1 . 53 . 0': '10.1.0.1 . 53',
  })
  assert.deepEqual(plan(sctp), {
    'ip6 services fd00::1 . sctp . 9': 'goto endpoints-sctp-1',
    'ip6 endpoints-sctp fd00::1 . 9 . 0': 'fd01::1 . 9',
  })
})

test('A port with affinity jumps to a chain of its own, and has a set of clients for each endpoint', () => {
  const endpoints = ['fd01::1 8080@node2', 'fd01::2 8080@node2']
  const set = (n: number) => `@clients-fd00__1-tcp-80-fd01__${n}-8080-65535`
  const go = (n: number) => `update ${set(n)} { ip6 saddr timeout 3h } meta l4proto tcp dnat to [fd01::${n}]:8080`
  const value = 'tcp 10800 65535 fd01::1 . 8080, fd01::2 . 8080'
  const state = portState('a/b/http', 'fd00::1', endpoints, { affinitySeconds: 10_800 })
  const key = frontendKey('fd00::1', 'tcp', 80)
  const planned = planPort(placementOf(state, nothingRedirected), { ...testOptions, ownsClusterIPs: false })
  const { name, rules } = affinityChain('ip6', key, planned.get(elementName('ip6', 'affinity', key))!)
  assert.equal(name, 'affinity-fd00__1-tcp-80')
  assert.deepEqual(
    rules.map(rule => ruleText('ip6', rule)),
    [
      `ip6 saddr ${set(1)} ${go(1)}`,
      `ip6 saddr ${set(2)} ${go(2)}`,
      `numgen random mod 2 0 ${go(1)}`,
      `numgen random mod 1 0 ${go(2)}`,
      'meta l4proto tcp dnat ip6 to numgen random mod 2 map { 0 : fd01::1 . 8080, 1 : fd01::2 . 8080 }',
    ],
  )
  assert.deepEqual(plan(state), {
    'ip6 services fd00::1 . tcp . 80': 'goto affinity-fd00__1-tcp-80',
    'ip6 affinity fd00::1 . tcp . 80': value,
    'ip6 clients fd00::1 . tcp . 80 . fd01::1 . 8080 . 65535': '',
    'ip6 clients fd00::1 . tcp . 80 . fd01::2 . 8080 . 65535': '',
  })
})

test('A time is written as nft lists it', () => {
  assert.deepEqual(
    [10, 90, 3600, 86_399, 86_400].map(seconds => durationText(seconds * 1000)),
    ['10s', '1m30s', '1h', '23h59m59s', '1d'],
  )
})

test('Endpoints of this node, and those whose node is not known, are masqueraded when they call themselves', () => {
  const state = portState('a/b/http', '10.0.0.1', ['10.1.0.1:80@node1', '10.1.0.2:80@node2', '10.1.0.3:80'])
  const hairpins = Object.keys(plan(state)).filter(name => name.includes('hairpin'))
  assert.deepEqual(hairpins, ['ip hairpin 10.1.0.1 . 10.1.0.1', 'ip hairpin 10.1.0.3 . 10.1.0.3'])
})

test('A port without endpoints is refused, and one whose endpoints are only elsewhere is dropped', () => {
  const name = 'ip no-endpoints 10.0.0.1 . tcp . 80'
  assert.deepEqual(plan(portState('a/b/http', '10.0.0.1', [])), { [name]: 'goto refuse' })
  assert.deepEqual(plan(portState('a/b/http', '10.0.0.1', [], { noLocalEndpoints: true })), { [name]: 'drop' })
})

test('Only a TCP port with endpoints enters the overlay', () => {
  const overlay = (state: PortState, isShared = false) => {
    const keys = [addressPortBytes({ ip: state.vip, port: state.port.port })]
    return Object.keys(plan(state, { keys, isShared })).filter(name => / envoy(-own)? /.test(name))
  }
  const http = portState('a/b/http', '10.0.0.1', ['10.1.0.1:80'])
  assert.deepEqual(overlay(http), ['ip envoy-own 10.0.0.1 . 80'])
  assert.deepEqual(overlay(http, true), ['ip envoy 10.0.0.1 . 80'])
  assert.deepEqual(overlay(portState('a/b/http', '10.0.0.1', [])), [])
  const udp = { port: { name: '', protocol: 'UDP' as const, port: 80 } }
  assert.deepEqual(overlay(portState('a/b/http', '10.0.0.1', ['10.1.0.1:80'], udp)), [])
})

test('A family that is not enabled gets nothing', () => {
  assert.deepEqual(
    plan(
      portState('a/b/http', 'fd00::1', ['fd01::1 80']),
      { keys: [addressPortBytes({ ip: 'fd00::1', port: 80 })], isShared: false },
      ['IPv4'],
    ),
    {},
  )
})

const anyEndpoints = Array.from({ length: 30 }, (_, n) => ({ ip: `10.1.0.${n >> 1}`, port: 80 + (n & 1) }))
const lists = fc
  .record({ list: fc.subarray(anyEndpoints.toSorted(compareEndpoints)), areCopies: fc.boolean() })
  .map(({ list, areCopies }) => (areCopies ? list.map(endpoint => ({ ...endpoint })) : list))

test('Assigning slots keeps every endpoint, once, and moves no more slots than endpoints changed', () => {
  fc.assert(
    fc.property(fc.array(lists), history => {
      let [known, slots]: [readonly Endpoint[], readonly Endpoint[]] = [[], []]
      for (const endpoints of history) {
        const assigned = assignSlots(slots, endpoints, known)
        assert.deepEqual(assigned, assignSlots(slots, endpoints))
        assert.equal(assigned.length, endpoints.length)
        assert.ok(endpoints.every(endpoint => assigned.includes(endpoint)))
        const [before, after] = [slots.map(slotValue), assigned.map(slotValue)]
        const gone = before.filter(value => !after.includes(value)).length
        const come = after.filter(value => !before.includes(value)).length
        const moved = after.filter((value, slot) => value !== before[slot]).length
        assert.ok(moved <= gone + come, `${moved} slots moved for ${gone} gone and ${come} come`)
        known = endpoints
        slots = assigned
      }
    }),
  )
})

const externalIPs = [[], ['192.0.2.1'], ['192.0.2.1', '192.0.2.2']] as const
const loadBalancerIPs = ['192.0.2.9']
const sourceRanges = [[], ['10.0.0.0/8']] as const
const pool: readonly Endpoint[] = Array.from({ length: 8 }, (_, n) => ({
  ip: `10.1.0.${n >> 1}`,
  port: 80 + (n & 1),
  nodeName: n % 3 === 0 ? 'node1' : 'node2',
}))

const placements = fc
  .record({
    endpoints: fc.subarray([...pool]),
    local: fc.subarray([...pool]),
    affinitySeconds: fc.constantFrom(undefined, undefined, 60),
    isExternal: fc.boolean(),
    ips: fc.constantFrom(...externalIPs),
    ranges: fc.constantFrom(...sourceRanges),
    policy: fc.constantFrom('Cluster', 'Local'),
    node: fc.constantFrom(undefined, '10.0.0.1'),
    // As objects of their own, which is what is read of another object is.
    isCopy: fc.boolean(),
  })
  .map(({ endpoints, local, affinitySeconds, isExternal, ips, ranges, policy, node, isCopy }) => {
    const own = isCopy ? endpoints.map(endpoint => ({ ...endpoint })) : endpoints
    const external: External = {
      nodePort: 30_080,
      externalIPs: ips,
      loadBalancerIPs,
      sourceRanges: ranges,
      policy,
      endpoints: policy === 'Local' ? local : own,
      clusterEndpoints: own,
      noLocalEndpoints: false,
      layer: belowFromOutside,
    }
    const more = isExternal ? { affinitySeconds, external } : { affinitySeconds }
    return { state: { ...portState('a/b/c', '10.0.0.1', [], more), endpoints: own }, node }
  })

test('Two placements of a port differ by the same elements when what both have alike is not planned', () => {
  fc.assert(
    fc.property(placements, placements, (from, to) => {
      const current = placementOf(from.state, nothingRedirected, from.node)
      const wanted = place(to.state, current, nothingRedirected, to.node)
      const inFull = difference(planPort(current, testOptions), planPort(wanted, testOptions))
      const inShort = difference(planPort(current, testOptions, wanted), planPort(wanted, testOptions, current))
      assert.deepEqual(inShort.removed.toSorted(), inFull.removed.toSorted())
      assert.deepEqual(inShort.added.map(String).toSorted(), inFull.added.map(String).toSorted())
    }),
    { numRuns: 1000 },
  )
})

test('Of 1,000 endpoints at 20 external IPs, none that stays is planned when one of them leaves', () => {
  const ips = Array.from({ length: 20 }, (_, n) => `192.0.2.${n}`)
  const endpoints = Array.from({ length: 1000 }, (_, n) => ({ ip: `10.1.${n >> 8}.${n & 255}`, port: 80 }))
  const external: External = {
    nodePort: undefined,
    externalIPs: ips,
    loadBalancerIPs: [],
    sourceRanges: [],
    policy: 'Cluster',
    endpoints,
    clusterEndpoints: endpoints,
    noLocalEndpoints: false,
    layer: belowFromOutside,
  }
  const placed = (list: readonly Endpoint[]) => {
    const more = { external: { ...external, endpoints: list, clusterEndpoints: list } }
    return { ...portState('a/b/c', '10.0.0.1', [], more), endpoints: list }
  }
  const current = placementOf(placed(endpoints), nothingRedirected)
  const wanted = place(placed(endpoints.toSpliced(10, 1)), current, nothingRedirected, undefined)
  const planned = planPort(current, testOptions, wanted).size + planPort(wanted, testOptions, current).size
  assert.ok(planned < 10 * ips.length, `${planned} elements were planned`)
})
