import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type DescMessage, fromBinary, toBinary } from '@bufbuild/protobuf'
import fc from 'fast-check'
import type { External, PortState } from '../../plan/ports/port.ts'
import { aPortState } from '../../plan/testing.ts'
import { defaultSettings } from '../../services/settings/definitions.ts'
import { envoyProtocols } from '../../services/settings/envoyprotocol.ts'
import type { Settings } from '../../services/settings/settings.ts'
import { Cluster_LbPolicy, ClusterSchema } from '../api/envoy/config/cluster/v3/cluster_pb.js'
import { ClusterLoadAssignmentSchema } from '../api/envoy/config/endpoint/v3/endpoint_pb.js'
import { ListenerSchema } from '../api/envoy/config/listener/v3/listener_pb.js'
import { RouteConfigurationSchema } from '../api/envoy/config/route/v3/route_pb.js'
import { ScopedRouteConfigurationSchema } from '../api/envoy/config/route/v3/scoped_route_pb.js'
import { bootstrapJson } from '../bootstrap/bootstrap.ts'
import { staticBootstrap } from '../bootstrap/static.ts'
import { type Resource, type TypeUrl, typeUrls } from '../resource.ts'
import { anySettings } from '../testing.ts'
import { externalId, type Frontend, frontendsOf, portIdOf } from './frontend.ts'
import { listenerSettings, type NodeOptions } from './listener.ts'
import { configurationOf, type Published, resourcesOf } from './resources.ts'

const tcp = { wants: 'envoy', protocol: 'tcp', reason: 'overlay is true' } as const
const settings = { ...defaultSettings, upstreamRequestTimeout: 5000, accessLog: 'true' } as const

const reached: External = {
  nodePort: 30_080,
  externalIPs: [],
  loadBalancerIPs: ['192.0.2.7'],
  sourceRanges: [],
  policy: 'Local',
  endpoints: [{ ip: '10.244.1.2', port: 8080 }],
  clusterEndpoints: aPortState().endpoints,
  noLocalEndpoints: false,
  layer: aPortState().layer,
}
const fromOutside = (external: Partial<External> = {}): Frontend => {
  return frontendsOf(aPortState({ external: { ...reached, ...external } }))[1]!
}

const golden: Readonly<Record<string, Frontend>> = {
  'http-external': fromOutside(),
  http: aPortState(),
  'http-settings': aPortState({ settings: { ...settings, lbPolicy: 'RING_HASH', circuitBreakerDefaultMaxRetries: 7 } }),
  'http-peak-ewma': aPortState({ settings: { ...settings, lbPolicy: 'PEAK_EWMA', slowStart: 30e3 } }),
  'http-no-retries': aPortState({ settings: { ...settings, retryEnabled: false } }),
  'tcp-ipv6': aPortState({
    id: 'db/postgres/5432/IPv6',
    namespace: 'db',
    name: 'postgres',
    port: { name: '', protocol: 'TCP', port: 5432 },
    family: 'IPv6',
    vip: 'fd00::10',
    layer: tcp,
    endpoints: [{ ip: 'fd00:1::2', port: 5432 }],
  }),
  'tcp-empty': aPortState({ layer: tcp, endpoints: [] }),
}

const withModule = { latencies: '/run/lightpath/envoy' }

for (const [name, state] of Object.entries(golden)) {
  test(`what is published of ${name} is golden/${name}.snapshot`, t => {
    const { staticResources } = staticBootstrap(configurationOf([state], name === 'http-peak-ewma' ? withModule : {}), {
      node: 'node1',
    })
    const listeners = staticResources!.listeners.filter(listener => listener.name !== 'canary')
    const json = bootstrapJson({
      ...staticBootstrap([], { node: 'node1' }),
      staticResources: { ...staticResources!, listeners },
    })
    t.assert.fileSnapshot(json.staticResources, new URL(`golden/${name}.snapshot`, import.meta.url).pathname)
  })
}

test('every resource of a Service port is named by its address, and requires what it needs', () => {
  const name = '10.96.0.10:80'
  const cluster = { typeUrl: typeUrls.cluster, name }
  const endpoints = { typeUrl: typeUrls.endpoints, name }
  const shared = { typeUrl: typeUrls.listener, name: '0.0.0.0:80' }
  const ownListener = { typeUrl: typeUrls.listener, name: '10.96.0.10:80', requires: [cluster, endpoints] }
  const scope = { typeUrl: typeUrls.scope, name: '10.96.0.10:80', requires: [cluster, endpoints, shared] }
  const backing = [
    { ...cluster, requires: [] },
    { ...endpoints, requires: [] },
  ]
  const route = { typeUrl: typeUrls.route, name: '10.96.0.10:80', requires: [cluster, endpoints] }
  assert.deepEqual(references(resourcesOf(aPortState())), [...backing, route, scope])
  assert.deepEqual(references(resourcesOf(golden['http-settings']!)), [...backing, route, ownListener, scope])
  assert.deepEqual(references(resourcesOf(aPortState({ layer: tcp }))), [...backing, ownListener])
  assert.equal(resourcesOf(golden['tcp-ipv6']!).at(-1)?.name, '[fd00::10]:5432')
})

test('http Service ports with default connections share a listener, but none that a node port or the redirect port could need', () => {
  const listeners = (frontend: Frontend) =>
    configurationOf([frontend])
      .filter(({ typeUrl }) => typeUrl === typeUrls.listener)
      .map(({ name }) => name)
  const ofPort = (port: number, fields: Partial<PortState> = {}) =>
    aPortState({ port: { name: 'http', protocol: 'TCP', port }, ...fields })
  assert.deepEqual(listeners(aPortState()), ['0.0.0.0:80'])
  assert.deepEqual(listeners(ofPort(8080, { family: 'IPv6', vip: 'fd00::1' })), ['[::]:8080'])
  assert.deepEqual(listeners(ofPort(30_080)), ['10.96.0.10:30080'])
  assert.deepEqual(listeners(ofPort(1666)), ['10.96.0.10:1666'])
  assert.deepEqual(listeners(fromOutside()), ['192.0.2.7:80', '0.0.0.0:30080'])
  // Its scope stays beside a listener of its own, for connections from before it got one.
  const idle = { ...defaultSettings, idleTimeout: 1000 }
  assert.deepEqual(listeners(aPortState({ settings: idle })), ['0.0.0.0:80', '10.96.0.10:80'])
  const two = [aPortState(), aPortState({ id: 'whoami/two/http', name: 'two', vip: '10.96.0.11' })]
  assert.equal(configurationOf(two).filter(({ typeUrl }) => typeUrl === typeUrls.listener).length, 1)
})

test('the external frontend is published as a Service port of its own, with a listener for each address and its own endpoints', () => {
  const resources = resourcesOf(fromOutside())
  assert.deepEqual(
    resources.map(({ name }) => name),
    [...new Array(3).fill('whoami/whoami/http/external'), '192.0.2.7:80', '0.0.0.0:30080'],
  )
  const [, endpoints] = resources
  const { endpoints: groups } = fromBinary(ClusterLoadAssignmentSchema, endpoints!.encode())
  assert.equal(groups.flatMap(({ lbEndpoints }) => lbEndpoints).length, 1)
  const six = frontendsOf(
    aPortState({ family: 'IPv6', vip: 'fd00::10', external: { ...reached, loadBalancerIPs: [] } }),
  )
  assert.equal(resourcesOf(six[1]!).at(-1)?.name, '[::]:30080')
})

test('a new external address changes no resource but its own listener', () => {
  const [before, after] = [fromOutside({ loadBalancerIPs: [] }), fromOutside()].map(frontend => resourcesOf(frontend))
  const versions = new Set(before!.map(({ version }) => version))
  assert.deepEqual(
    after!.filter(({ version }) => !versions.has(version)).map(({ name }) => name),
    ['192.0.2.7:80'],
  )
})

test("endpoints see the client's address by the VIP and by policy Local alone, where the node can", () => {
  const hasSource = (frontend: Frontend, clientMark?: number) =>
    configurationOf([frontend], { clientMark })
      .filter(({ typeUrl }) => typeUrl === typeUrls.listener)
      .map(({ encode }) =>
        fromBinary(ListenerSchema, encode()).listenerFilters.some(({ name }) => name.endsWith('original_src')),
      )
  assert.deepEqual(hasSource(aPortState(), 0x2000), [true])
  assert.deepEqual(hasSource(fromOutside(), 0x2000), [true, true])
  assert.deepEqual(hasSource(fromOutside({ policy: 'Cluster' }), 0x2000), [false, false])
  for (const frontend of [aPortState(), fromOutside()]) assert.ok(!hasSource(frontend, undefined).includes(true))
  const [local, cluster] = [fromOutside(), fromOutside({ policy: 'Cluster' })]
  const told = { frontend: local, isDraining: false, resources: resourcesOf(local, { clientMark: 0x2000 }) }
  const versions = (before?: Published) =>
    resourcesOf(cluster, { clientMark: 0x2000 }, before).map(({ version }) => version)
  assert.deepEqual(versions(told), versions())
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

test('a client’s FIN waits for answers where Envoy has the module, unless the port says otherwise', () => {
  const filtersOf = (halfClose: Settings['halfClose'], hasModule: boolean) => {
    const frontend = aPortState({ settings: { ...defaultSettings, halfClose, idleTimeout: 5000 } })
    const [own] = resourcesOf(frontend, { hasModule }).filter(({ typeUrl }) => typeUrl === typeUrls.listener)
    const { listenerFilters, filterChains } = fromBinary(ListenerSchema, own!.encode())
    return [...listenerFilters, ...filterChains[0]!.filters].map(({ name }) => name.replace(/^envoy.filters.*\./, ''))
  }
  const [waits, detects] = ['lightpath.half-close', 'lightpath.detection']
  assert.deepEqual(filtersOf('auto', true), [detects, waits, 'http_connection_manager'])
  assert.deepEqual(filtersOf('false', true), [detects, 'http_connection_manager'])
  assert.deepEqual(filtersOf('auto', false), ['http_inspector', 'http_connection_manager'])
  assert.deepEqual(filtersOf('true', false), ['http_inspector', waits, 'http_connection_manager'])
})

test('the id of a frontend names its port, also of one that is called external', () => {
  for (const id of ['a/b/http', 'a/b/http/IPv6', 'a/b/external', 'a/b/external/IPv6', 'external/external/external']) {
    assert.equal(portIdOf(externalId(id)), id)
    assert.equal(portIdOf(id), id)
  }
})

test('a Service port that is meant for the kernel cannot be published to Envoy', () => {
  const kernel = aPortState({ layer: { wants: 'kernel', reason: 'port name dns' } })
  assert.throws(() => resourcesOf(kernel), /whoami\/whoami\/http is not meant for Envoy: port name dns/)
})

test('a change of endpoints encodes the endpoints and nothing else', () => {
  const state = aPortState()
  const resources = resourcesOf(state)
  const told = { frontend: state, isDraining: false, resources }
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
    return resourcesOf(withEndpoints(after), {}, { frontend, isDraining: false, resources })
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

const all = [typeUrls.cluster, typeUrls.endpoints, typeUrls.route, typeUrls.scope]
for (const [what, change, expected] of [
  ['port', { port: { name: 'http', protocol: 'TCP', port: 81 } }, all],
  ['VIP', { vip: '10.96.0.11' }, all],
  ['protocol', { layer: tcp }, [typeUrls.cluster, typeUrls.listener]],
  ['lb-policy', { settings: { ...defaultSettings, lbPolicy: 'RANDOM' } }, [typeUrls.cluster]],
  ['request-timeout', { settings: { ...defaultSettings, requestTimeout: 1000 } }, [typeUrls.route]],
  ['retry-on', { settings: { ...defaultSettings, retryOn: 'reset' } }, [typeUrls.route]],
  ['idle-timeout', { settings: { ...defaultSettings, idleTimeout: 1000 } }, [typeUrls.listener]],
] as const satisfies [string, Partial<PortState>, TypeUrl[]][]) {
  test(`a change of ${what} changes the versions of what depends on it, with or without what was published before`, () => {
    const state = aPortState()
    const told = { frontend: state, isDraining: false, resources: resourcesOf(state) }
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

test('PEAK_EWMA takes the module, and answers that can be timed', () => {
  const policy = (frontend: Frontend, node: NodeOptions) => {
    const cluster = configurationOf([frontend], node).find(({ typeUrl }) => typeUrl === typeUrls.cluster)!
    const { loadBalancingPolicy, lbPolicy } = fromBinary(ClusterSchema, cluster.encode())
    return loadBalancingPolicy ? 'module' : Cluster_LbPolicy[lbPolicy]
  }
  const asked = aPortState({ settings: { ...defaultSettings, lbPolicy: 'PEAK_EWMA' } })
  assert.equal(policy(asked, withModule), 'module')
  assert.equal(policy(asked, {}), 'LEAST_REQUEST')
  assert.equal(policy({ ...asked, layer: tcp }, withModule), 'LEAST_REQUEST')
  assert.equal(policy(aPortState(), { ...withModule, lbPolicy: 'PEAK_EWMA' }), 'module')
  assert.equal(
    policy(aPortState({ settings: { ...defaultSettings, lbPolicy: 'RANDOM' } }), {
      ...withModule,
      lbPolicy: 'PEAK_EWMA',
    }),
    'RANDOM',
  )
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

test('a demoted frontend has another route, also with what was published before, and nothing else that is new', () => {
  const state = aPortState()
  const told = { frontend: state, isDraining: false, resources: resourcesOf(state) }
  const leaving = resourcesOf(state, { isDraining: true }, told)
  const changed = leaving.filter(({ version }, i) => version !== told.resources[i]!.version)
  assert.deepEqual(
    changed.map(({ typeUrl }) => typeUrl),
    [typeUrls.route],
  )
  const back = resourcesOf(state, {}, { frontend: state, isDraining: true, resources: leaving })
  assert.equal(versionOf(back, typeUrls.route), versionOf(told.resources, typeUrls.route))
})

test('versions are made from content, so that they survive a restart', () => {
  assert.deepEqual(
    resourcesOf(golden['tcp-ipv6']!).map(({ version }) => version.length),
    [16, 16, 16],
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

function references(resources: readonly Resource[]) {
  return resources.map(({ typeUrl, name, requires }) => ({ typeUrl, name, requires }))
}
