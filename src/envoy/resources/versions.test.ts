import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type DescMessage, fromBinary, toBinary } from '@bufbuild/protobuf'
import fc from 'fast-check'
import type { PortState } from '../../plan/ports/port.ts'
import { aPortState } from '../../plan/testing.ts'
import { defaultSettings } from '../../services/settings/definitions.ts'
import { envoyProtocols } from '../../services/settings/envoyprotocol.ts'
import type { Settings } from '../../services/settings/settings.ts'
import { ClusterSchema } from '../api/envoy/config/cluster/v3/cluster_pb.js'
import { TypedExtensionConfigSchema } from '../api/envoy/config/core/v3/extension_pb.js'
import { ClusterLoadAssignmentSchema } from '../api/envoy/config/endpoint/v3/endpoint_pb.js'
import { ListenerSchema } from '../api/envoy/config/listener/v3/listener_pb.js'
import { RouteConfigurationSchema } from '../api/envoy/config/route/v3/route_pb.js'
import { ScopedRouteConfigurationSchema } from '../api/envoy/config/route/v3/scoped_route_pb.js'
import { type Resource, type TypeUrl, typeUrls } from '../resource.ts'
import { anySettings } from '../testing.ts'
import { listenerSettings } from './listener.ts'
import { configurationOf, type Published, resourcesOf } from './resources.ts'

import { fromOutside, golden, tcp } from './testing.ts'

test('a new external address changes no resource but its own listener', () => {
  const [before, after] = [fromOutside({ loadBalancerIPs: [] }), fromOutside()].map(frontend => resourcesOf(frontend))
  const versions = new Set(before!.map(({ version }) => version))
  assert.deepEqual(
    after!.filter(({ version }) => !versions.has(version)).map(({ name }) => name),
    ['192.0.2.7:80'],
  )
})

test('only settings of listeners change a listener', () => {
  const listenersOf = (layer: PortState['layer'], settings: Settings) => {
    const resources = configurationOf([aPortState({ layer, settings })])
    return resources.filter(({ typeUrl }) => typeUrl === typeUrls.listener).map(({ version }) => version)
  }
  fc.assert(
    fc.property(anySettings, anySettings, fc.constantFrom(aPortState().layer, tcp), (before, after, layer) => {
      const kept = { ...after, ...listenerSettings(before) }
      assert.deepEqual(listenersOf(layer, kept), listenersOf(layer, before))
    }),
    { numRuns: 300 },
  )
})

test('a change of endpoints encodes the endpoints and nothing else', () => {
  const state = aPortState()
  const resources = resourcesOf(state)
  const told = { frontend: state, isDraining: false, node: {}, resources }
  const endpoints = state.endpoints.map(({ port }, i) => ({ ip: `10.244.9.${i}`, port }))
  const changed = resourcesOf({ ...state, endpoints }, {}, told)
  assert.deepEqual(
    changed.filter((resource, i) => resource !== resources[i]).map(({ typeUrl }) => typeUrl),
    [typeUrls.endpoints],
  )
  assert.notEqual(versionOf(changed, typeUrls.endpoints), versionOf(resources, typeUrls.endpoints))
})

test('routes change with the endpoints only while these are fewer than the tries of a request', () => {
  const withEndpoints = (count: number) =>
    aPortState({ endpoints: Array.from({ length: count }, (_, i) => ({ ip: `10.244.9.${i}`, port: 8080 })) })
  const changesFrom = (before: number, after: number) => {
    const frontend = withEndpoints(before)
    const resources = resourcesOf(frontend)
    return resourcesOf(withEndpoints(after), {}, { frontend, isDraining: false, node: {}, resources })
      .filter((resource, i) => resource !== resources[i])
      .map(({ typeUrl }) => typeUrl)
  }
  for (const [before, after] of [
    [1, 2],
    [2, 3],
    [3, 1],
  ] as const)
    assert.deepEqual(changesFrom(before, after), [typeUrls.endpoints, typeUrls.route])
  for (const [before, after] of [
    [3, 4],
    [100, 99],
    [0, 1],
  ] as const)
    assert.deepEqual(changesFrom(before, after), [typeUrls.endpoints])
})

const idle = (idleTimeout: number) => ({ ...defaultSettings, idleTimeout })

const all = [typeUrls.cluster, typeUrls.endpoints, typeUrls.route, typeUrls.scope]

for (const [what, change, expected] of [
  ['port', { port: { name: 'http', protocol: 'TCP', port: 81 } }, all],
  ['VIP', { vip: '10.96.0.11' }, all],
  ['protocol', { layer: tcp }, [typeUrls.cluster, typeUrls.filter, typeUrls.listener]],
  ['lb-policy', { settings: { ...defaultSettings, lbPolicy: 'RANDOM' } }, [typeUrls.cluster]],
  ['request-timeout', { settings: { ...defaultSettings, requestTimeout: 1000 } }, [typeUrls.route]],
  ['retry-on', { settings: { ...defaultSettings, retryOn: 'reset' } }, [typeUrls.route]],
  ['idle-timeout', { settings: idle(1000) }, [typeUrls.filter, typeUrls.filter, typeUrls.listener]],
] as const satisfies [string, Partial<PortState>, TypeUrl[]][]) {
  test(`a change of ${what} changes the versions of what depends on it, with or without what was published before`, () => {
    const state = aPortState()
    const told = { frontend: state, isDraining: false, node: {}, resources: resourcesOf(state) }
    const after = { ...state, ...change }
    assert.deepEqual(encoded(after, told), encoded(after))
    const changed = resourcesOf(after, {}, told).filter(
      ({ typeUrl, version }) => version !== versionOf(told.resources, typeUrl),
    )
    assert.deepEqual(
      changed.map(({ typeUrl }) => typeUrl),
      expected,
    )
  })
}

test('another idle-timeout or access log changes filters alone, and no listener', () => {
  for (const layer of [tcp, aPortState().layer]) {
    const versions = (settings: Settings) =>
      resourcesOf(aPortState({ layer, settings })).map(({ typeUrl, version }) => `${typeUrl} ${version}`)
    for (const settings of [idle(2000), { ...idle(1000), accessLog: 'true' } as const]) {
      const before = new Set(versions(idle(1000)))
      const changed = versions(settings).filter(version => !before.has(version))
      assert.ok(changed.length > 0 && changed.every(version => version.startsWith(typeUrls.filter)), String(changed))
    }
  }
})

test('a change of lb-policy changes no listener of a tcp port either', () => {
  const state = aPortState({ layer: tcp })
  const resources = resourcesOf(state)
  const after = resourcesOf({ ...state, settings: { ...defaultSettings, lbPolicy: 'MAGLEV' } })
  assert.deepEqual(
    after.filter(({ version }, i) => version !== resources[i]!.version).map(({ typeUrl }) => typeUrl),
    [typeUrls.cluster],
  )
})

test('whatever changes of a node, what was published before gives the same versions as nothing', () => {
  const anyNode = fc.record(
    {
      clientMark: fc.constant(0x2000),
      hasModule: fc.constant(true),
      latencies: fc.constant('/run/latencies'),
      lbPolicy: fc.constantFrom('PEAK_EWMA', 'LEAST_REQUEST'),
      firstBytesTimeout: fc.constant(1000),
      redirectPort: fc.constant(aPortState().port.port),
    },
    { requiredKeys: [] },
  )
  const anyFrontend = fc
    .tuple(anySettings, fc.constantFrom(aPortState(), aPortState({ layer: tcp }), fromOutside()))
    .map(([settings, frontend]) => ({ ...frontend, settings }))
  fc.assert(
    fc.property(anyFrontend, anyNode, anyNode, (frontend, node, other) => {
      const told = { frontend, isDraining: false, node, resources: resourcesOf(frontend, node) }
      const versions = (before?: Published) => resourcesOf(frontend, other, before).map(({ version }) => version)
      assert.deepEqual(versions(told), versions())
    }),
    { numRuns: 1000 },
  )
})

test('a port on a shared listener keeps its resources when an Envoy comes that has the module', () => {
  const frontend = aPortState()
  const told = { frontend, isDraining: false, node: {}, resources: resourcesOf(frontend) }
  assert.equal(resourcesOf(frontend, { hasModule: true, latencies: '/run/latencies' }, told), told.resources)
})

test('a demoted frontend has another route, also with what was published before, and nothing else that is new', () => {
  const state = aPortState()
  const told = { frontend: state, isDraining: false, node: {}, resources: resourcesOf(state) }
  const leaving = resourcesOf(state, { isDraining: true }, told)
  const changed = leaving.filter(({ version }, i) => version !== told.resources[i]!.version)
  assert.deepEqual(
    changed.map(({ typeUrl }) => typeUrl),
    [typeUrls.route],
  )
  const back = resourcesOf(state, {}, { frontend: state, isDraining: true, node: {}, resources: leaving })
  assert.equal(versionOf(back, typeUrls.route), versionOf(told.resources, typeUrls.route))
})

test('versions are made from content, so that they survive a restart', () => {
  assert.deepEqual(
    resourcesOf(golden['tcp-ipv6']!).map(({ version }) => version.length),
    [16, 16, 16, 16],
  )
  assert.deepEqual(encoded(golden['tcp-ipv6']!), encoded(structuredClone(golden['tcp-ipv6']!)))
})

const anyState: fc.Arbitrary<PortState> = fc
  .record({
    settings: fc.oneof(fc.constant(defaultSettings), anySettings),
    protocol: fc.constantFrom(...envoyProtocols),
    vip: fc.oneof(fc.ipV4(), fc.constant('fd00::1')),
    endpoints: fc.uniqueArray(fc.record({ ip: fc.ipV4(), port: fc.integer({ min: 1, max: 65535 }) }), { maxLength: 4 }),
  })
  .map(({ protocol, ...fields }) => aPortState({ ...fields, layer: { wants: 'envoy', protocol, reason: '' } }))

const schemas: Readonly<Record<TypeUrl, DescMessage>> = {
  [typeUrls.cluster]: ClusterSchema,
  [typeUrls.endpoints]: ClusterLoadAssignmentSchema,
  [typeUrls.route]: RouteConfigurationSchema,
  [typeUrls.scope]: ScopedRouteConfigurationSchema,
  [typeUrls.listener]: ListenerSchema,
  [typeUrls.filter]: TypedExtensionConfigSchema,
}

test('property: whatever settings say, each resource is a whole message with the resource’s name', () => {
  fc.assert(
    fc.property(anyState, state => {
      for (const { typeUrl, name, encode } of resourcesOf(state)) {
        const bytes = encode()
        const message = fromBinary(schemas[typeUrl], bytes) as unknown as { name?: string; clusterName?: string }
        assert.equal(message.clusterName ?? message.name, name)
        // Parts that were encoded apart and merged are one message: encoded as a whole it means the same.
        const whole = toBinary(schemas[typeUrl], message as never)
        assert.deepEqual(toBinary(schemas[typeUrl], fromBinary(schemas[typeUrl], whole)), whole)
      }
    }),
    { numRuns: 300 },
  )
})

test('property: equal states have equal bytes and versions, and versions differ where bytes do', () => {
  fc.assert(
    fc.property(anyState, anyState, (a, b) => {
      const [ofA, again, ofB] = [encoded(a), encoded(structuredClone(a)), encoded(b)]
      assert.deepEqual(again, ofA)
      for (const resource of ofA) {
        const other = ofB.find(({ typeUrl }) => typeUrl === resource.typeUrl)
        if (other) assert.equal(resource.version === other.version, Buffer.compare(resource.bytes, other.bytes) === 0)
      }
    }),
    { numRuns: 300 },
  )
})

function encoded(state: PortState, before?: Published) {
  return resourcesOf(state, {}, before).map(({ encode, ...resource }) => ({ ...resource, bytes: encode() }))
}

function versionOf(resources: readonly Resource[], typeUrl: TypeUrl): string | undefined {
  return resources.find(resource => resource.typeUrl === typeUrl)?.version
}
