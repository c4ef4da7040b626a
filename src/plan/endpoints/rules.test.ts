import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import type { EndpointSlice, EndpointTraits, SliceEndpoint } from '../../services/objects/endpointslice.ts'
import type { Service } from '../../services/objects/service.ts'
import { anEndpoint, aPort, aService, aSlice, put } from '../../services/testing.ts'
import { chooseEndpoints, stateOf, TestPlan } from '../testing.ts'
import { EndpointChoice } from './choice.ts'
import type { NodeTopology } from './rules.ts'

const topology: NodeTopology = { nodeName: 'node1', zone: 'zone-a' }
const port = aPort()

function chosen(endpoints: readonly SliceEndpoint[], service: Partial<Service> = {}, at = topology): string[] {
  return choose([aSlice(endpoints)], service, at)
}

function choose(slices: readonly EndpointSlice[], service: Partial<Service> = {}, at = topology): string[] {
  return chooseEndpoints(aService(service), port, 'IPv4', slices, at).endpoints.map(({ ip }) => ip)
}

const ready = (ip: string, fields: Partial<EndpointTraits> = {}) => anEndpoint(ip, fields)
const unready = (ip: string, fields: Partial<EndpointTraits> = {}) =>
  anEndpoint(ip, { ready: false, serving: false, ...fields })
const draining = (ip: string, fields: Partial<EndpointTraits> = {}) =>
  anEndpoint(ip, { ready: false, serving: true, terminating: true, ...fields })

describe('readiness', () => {
  test('all ready endpoints are used', () =>
    assert.deepEqual(chosen([ready('10.0.0.1'), ready('10.0.0.2')]), ['10.0.0.1', '10.0.0.2']))
  test('an endpoint that is not ready is not used', () =>
    assert.deepEqual(chosen([ready('10.0.0.1'), unready('10.0.0.2')]), ['10.0.0.1']))
  test('a terminating endpoint is not used while another is ready', () =>
    assert.deepEqual(chosen([ready('10.0.0.1'), draining('10.0.0.2')]), ['10.0.0.1']))
  test('terminating endpoints that still serve are used when none is ready', () =>
    assert.deepEqual(chosen([unready('10.0.0.1'), draining('10.0.0.2')]), ['10.0.0.2']))
  test('an endpoint that serves but is neither ready nor terminating is never used', () =>
    assert.deepEqual(chosen([anEndpoint('10.0.0.1', { ready: false })]), []))
  test('a terminating endpoint that no longer serves is never used', () =>
    assert.deepEqual(chosen([draining('10.0.0.1', { serving: false })]), []))
  test('no endpoint at all gives none', () => assert.deepEqual(chosen([]), []))
})

describe('slices', () => {
  test('the endpoints of several slices are used together', () =>
    assert.deepEqual(choose([aSlice([ready('10.0.0.2')]), aSlice([ready('10.0.0.1')], { name: 'b' })]), [
      '10.0.0.1',
      '10.0.0.2',
    ]))
  test('an endpoint in two slices is used once', () =>
    assert.deepEqual(choose([aSlice([ready('10.0.0.1')]), aSlice([ready('10.0.0.1')], { name: 'b' })]), ['10.0.0.1']))
  test('an endpoint that is ready in one slice and not in another is ready, whichever comes first', () => {
    const slices = [aSlice([ready('10.0.0.1')]), aSlice([unready('10.0.0.1')], { name: 'b' })]
    assert.deepEqual(choose(slices), ['10.0.0.1'])
    assert.deepEqual(choose(slices.reverse()), ['10.0.0.1'])
  })
  test('of two entries of one endpoint that differ in their hints alone the same one counts, whichever came first', () => {
    const hinted = (zone: string, name: string) => aSlice([ready('10.0.0.1', { forZones: [zone] })], { name })
    const slices = [
      hinted('zone-b', 'b'),
      hinted('zone-a', 'a'),
      aSlice([ready('10.0.0.2', { forZones: ['zone-b'] })], { name: 'c' }),
    ]
    assert.deepEqual(choose(slices), ['10.0.0.1'])
    assert.deepEqual(choose(slices.reverse()), ['10.0.0.1'])
  })
  test('an address that a new pod has, while an old one with it still terminates, is as ready as the new pod', () => {
    const [old, unreadyNew] = [aSlice([draining('10.0.0.1')]), aSlice([unready('10.0.0.1')], { name: 'b' })]
    assert.deepEqual(choose([old, unreadyNew]), [])
    assert.deepEqual(choose([unreadyNew, old]), [])
  })
  test('an endpoint of which one slice says that it is on this node is on this node', () => {
    const slices = [aSlice([ready('10.0.0.1')]), aSlice([ready('10.0.0.1', { nodeName: 'node1' })], { name: 'b' })]
    assert.deepEqual(choose(slices, { internalTrafficPolicy: 'Local' }), ['10.0.0.1'])
  })
  test('a slice port of another name or protocol is not used', () => {
    const ports = [
      { name: 'metrics', protocol: 'TCP', port: 8080 },
      { name: 'http', protocol: 'UDP', port: 8080 },
    ] as const
    assert.deepEqual(choose([aSlice([ready('10.0.0.1')], { ports })]), [])
  })
  test('a named target port that resolves to two numbers gives each endpoint its own', () => {
    const other = aSlice([ready('10.0.0.2')], { name: 'b', ports: [{ name: 'http', protocol: 'TCP', port: 9090 }] })
    const { endpoints } = chooseEndpoints(aService(), port, 'IPv4', [aSlice([ready('10.0.0.1')]), other], topology)
    assert.deepEqual(
      endpoints.map(endpoint => `${endpoint.ip}:${endpoint.port}`),
      ['10.0.0.1:8080', '10.0.0.2:9090'],
    )
  })
  test('slices of the other family are not used', () => {
    assert.deepEqual(choose([aSlice([ready('fd00::1')], { family: 'IPv6' })]), [])
  })
})

test('those that answer a UDP port, whose flows go on, are also the serving ones that are not chosen', () => {
  const udp = aPort({ protocol: 'UDP' })
  const endpoints = [ready('10.0.0.1'), draining('10.0.0.2'), unready('10.0.0.3')]
  const slice = aSlice(endpoints, { ports: [{ name: 'http', protocol: 'UDP', port: 53 }] })
  const choice = chooseEndpoints(aService(), udp, 'IPv4', [slice], topology)
  assert.deepEqual(
    [choice.endpoints, choice.servingEndpoints].map(list => list.map(({ ip }) => ip)),
    [['10.0.0.1'], ['10.0.0.1', '10.0.0.2']],
  )
})

test('a port of Lightpath itself on this node is no endpoint, and the problem is reported to the Service', () => {
  const reserved = { ports: new Set([1666]), hasAddress: (ip: string) => ip === '172.30.0.11' }
  const plan = new TestPlan({ reserved })
  const slice = (port: number) =>
    aSlice([ready('172.30.0.11'), ready('172.30.0.12')], { ports: [{ name: 'http', protocol: 'TCP', port }] })
  const { problems } = plan.tell([aService(), slice(1666)].map(put))
  assert.deepEqual(stateOf(plan).endpoints, [{ ip: '172.30.0.12', port: 1666, nodeName: undefined }])
  const told = problems.get('Service whoami/whoami')?.map(({ code, reason }) => `${code} ${reason}`)
  assert.deepEqual(told, ['LP222 endpoint 172.30.0.11:1666: it is a port of Lightpath itself on this node'])
  const shown = plan.view('whoami', 'whoami')?.candidates.get('whoami/whoami/http')
  assert.equal(shown?.find(({ ip }) => ip === '172.30.0.11')?.notUsed, 'it is a port of Lightpath itself on this node')
  plan.tell([put(slice(8080))])
  assert.equal(stateOf(plan).endpoints.length, 2)
})

describe('internal traffic policy Local', () => {
  const local = { internalTrafficPolicy: 'Local' } as const
  test('only endpoints on this node are used', () =>
    assert.deepEqual(
      chosen([ready('10.0.0.1', { nodeName: 'node1' }), ready('10.0.0.2', { nodeName: 'node2' })], local),
      ['10.0.0.1'],
    ))
  test('terminating endpoints of this node are used before ready ones of another', () =>
    assert.deepEqual(
      chosen([draining('10.0.0.1', { nodeName: 'node1' }), ready('10.0.0.2', { nodeName: 'node2' })], local),
      ['10.0.0.1'],
    ))
  test('topology hints do not matter', () =>
    assert.deepEqual(
      chosen(
        [
          ready('10.0.0.1', { nodeName: 'node1', forZones: ['zone-b'] }),
          ready('10.0.0.2', { nodeName: 'node1', forZones: ['zone-a'] }),
        ],
        local,
      ),
      ['10.0.0.1', '10.0.0.2'],
    ))
  test('endpoints only on other nodes are told apart from none at all', () => {
    const elsewhere = [aSlice([ready('10.0.0.2', { nodeName: 'node2' })])]
    assert.equal(chooseEndpoints(aService(local), port, 'IPv4', elsewhere, topology).noLocalEndpoints, true)
    assert.equal(chooseEndpoints(aService(local), port, 'IPv4', [], topology).noLocalEndpoints, false)
  })
})

describe('topology hints', () => {
  const a = ready('10.0.0.1', { forZones: ['zone-a'] })
  const b = ready('10.0.0.2', { forZones: ['zone-b'] })
  const both = ready('10.0.0.3', { forZones: ['zone-a', 'zone-b'] })
  test('endpoints whose hints name this zone are used', () =>
    assert.deepEqual(chosen([a, b, both]), ['10.0.0.1', '10.0.0.3']))
  test('hints are ignored when a ready endpoint has none', () =>
    assert.deepEqual(chosen([a, b, ready('10.0.0.4')]), ['10.0.0.1', '10.0.0.2', '10.0.0.4']))
  test('hints are ignored when none is for this zone', () => assert.deepEqual(chosen([b, b]), ['10.0.0.2']))
  test('hints are ignored when the zone of this node is not known', () =>
    assert.deepEqual(chosen([a, b], {}, { nodeName: 'node1', zone: undefined }), ['10.0.0.1', '10.0.0.2']))
  test('endpoints that are not ready need no hints', () =>
    assert.deepEqual(chosen([a, b, unready('10.0.0.4')]), ['10.0.0.1']))
  test('hints for this node count before hints for its zone', () => {
    const mine = ready('10.0.0.5', { forNodes: ['node1'], forZones: ['zone-a'] })
    const zone = ready('10.0.0.6', { forNodes: ['node2'], forZones: ['zone-a'] })
    assert.deepEqual(chosen([mine, zone]), ['10.0.0.5'])
    assert.deepEqual(chosen([mine, zone], {}, { nodeName: 'node9', zone: 'zone-a' }), ['10.0.0.5', '10.0.0.6'])
  })
  test('the fallback to terminating endpoints ignores hints', () =>
    assert.deepEqual(
      chosen([draining('10.0.0.1', { forZones: ['zone-a'] }), draining('10.0.0.2', { forZones: ['zone-b'] })]),
      ['10.0.0.1', '10.0.0.2'],
    ))
})

const anyEndpoint: fc.Arbitrary<SliceEndpoint> = fc.record({
  ip: fc.integer({ min: 1, max: 12 }).map(last => `10.0.0.${last}`),
  traits: fc.record({
    ready: fc.boolean(),
    serving: fc.boolean(),
    terminating: fc.boolean(),
    nodeName: fc.constantFrom('node1', 'node2', undefined),
    zone: fc.constantFrom('zone-a', 'zone-b', undefined),
    forZones: fc.option(fc.subarray(['zone-a', 'zone-b']), { nil: undefined }),
    forNodes: fc.option(fc.subarray(['node1', 'node2']), { nil: undefined }),
    isPod: fc.constant(true),
  }),
})
const anySlices = fc
  .array(fc.array(anyEndpoint, { maxLength: 6 }), { maxLength: 3 })
  .map(all => all.map((endpoints, i) => aSlice(endpoints, { name: `slice-${i}` })))
const anyPolicy = fc.constantFrom('Cluster', 'Local') as fc.Arbitrary<Service['internalTrafficPolicy']>

describe('for all slices', () => {
  test('a chosen endpoint is ready, or serving and terminating with none ready to be chosen', () => {
    fc.assert(
      fc.property(anySlices, anyPolicy, (slices, internalTrafficPolicy) => {
        const told = slices.flatMap(slice => slice.endpoints)
        // An address that a new pod has counts no longer for the old one, which terminates.
        const isTaken = ({ ip }: SliceEndpoint) => told.some(e => e.ip === ip && !e.traits.terminating)
        const all = told
          .filter(e => !e.traits.terminating || !isTaken(e))
          .filter(e => internalTrafficPolicy === 'Cluster' || e.traits.nodeName === 'node1')
        const anyReady = all.some(endpoint => endpoint.traits.ready)
        for (const ip of choose(slices, { internalTrafficPolicy })) {
          assert.ok(
            all.some(e => e.ip === ip && (anyReady ? e.traits.ready : e.traits.serving && e.traits.terminating)),
          )
        }
      }),
    )
  })
  test('there is a choice exactly when an endpoint is ready, or serves while it terminates', () => {
    fc.assert(
      fc.property(fc.uniqueArray(anyEndpoint, { selector: e => e.ip }), endpoints => {
        const usable = endpoints.some(({ traits }) => traits.ready || (traits.serving && traits.terminating))
        assert.equal(chosen(endpoints).length > 0, usable)
      }),
    )
  })
  test('the order of slices and endpoints does not matter where no address repeats', () => {
    fc.assert(
      fc.property(fc.uniqueArray(anyEndpoint, { selector: e => e.ip, maxLength: 10 }), fc.nat(), (endpoints, cut) => {
        const at = endpoints.length === 0 ? 0 : cut % endpoints.length
        const turned = [...endpoints.slice(at), ...endpoints.slice(0, at)]
        const split = [aSlice(turned.slice(0, at)), aSlice(turned.slice(at), { name: 'b' })]
        assert.deepEqual(choose(split), chosen(endpoints))
      }),
    )
  })
  test('explain agrees with the choice, and gives a reason for every other endpoint', () => {
    fc.assert(
      fc.property(anySlices, anyPolicy, (slices, internalTrafficPolicy) => {
        const all = new EndpointChoice(aService({ internalTrafficPolicy }), slices, topology).explain(port, 'IPv4')
        const used = all.filter(candidate => candidate.notUsed === undefined).map(({ ip }) => ip)
        assert.deepEqual(used, choose(slices, { internalTrafficPolicy }))
        for (const { notUsed } of all) assert.notEqual(notUsed, '')
      }),
    )
  })
})
