import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fromBinary } from '@bufbuild/protobuf'
import type { PortState } from '../../plan/ports/port.ts'
import { aPortState } from '../../plan/testing.ts'
import { defaultSettings } from '../../services/settings/definitions.ts'
import type { Settings } from '../../services/settings/settings.ts'
import { aPort } from '../../services/testing.ts'
import { Cluster_LbPolicy, ClusterSchema } from '../api/envoy/config/cluster/v3/cluster_pb.js'
import { ClusterLoadAssignmentSchema } from '../api/envoy/config/endpoint/v3/endpoint_pb.js'
import { ListenerSchema } from '../api/envoy/config/listener/v3/listener_pb.js'
import { bootstrapJson } from '../bootstrap/bootstrap.ts'
import { staticBootstrap } from '../bootstrap/static.ts'
import { type Resource, refKey, type TypeUrl, typeUrls } from '../resource.ts'
import { externalId, type Frontend, frontendsOf, portIdOf } from './frontend.ts'
import type { NodeOptions } from './listener.ts'
import { configurationOf, type Published, resourcesOf } from './resources.ts'

import { fromOutside, golden, reached, tcp, withModule } from './testing.ts'

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
  const holder = { typeUrl: typeUrls.listener, name: 'scopes' }
  const ownListener = { typeUrl: typeUrls.listener, name: '10.96.0.10:80', requires: [cluster, endpoints] }
  const filters = (...chains: readonly string[]) =>
    chains.map(chain => ({ typeUrl: typeUrls.filter, name: `${name}/${chain}`, requires: [] }))
  const sharedFilter = { typeUrl: typeUrls.filter, name: 'shared/http' }
  const scope = { typeUrl: typeUrls.scope, name, requires: [cluster, endpoints, sharedFilter, holder] }
  const backing = [
    { ...cluster, requires: [] },
    { ...endpoints, requires: [] },
  ]
  const route = { typeUrl: typeUrls.route, name: '10.96.0.10:80', requires: [cluster, endpoints] }
  assert.deepEqual(references(resourcesOf(aPortState())), [...backing, route, scope])
  assert.deepEqual(references(resourcesOf(golden['http-settings']!)), [
    ...backing,
    route,
    ...filters('http', 'tcp'),
    ownListener,
    scope,
  ])
  assert.deepEqual(references(resourcesOf(aPortState({ layer: tcp }))), [...backing, ...filters('tcp'), ownListener])
  assert.equal(resourcesOf(golden['tcp-ipv6']!).at(-1)?.name, '[fd00::10]:5432')
})

test('what asks for a resource is there, and asks for it by its name', () => {
  for (const state of [aPortState(), ...Object.values(golden), fromOutside()]) {
    for (const resources of frontendsOf(state).map(frontend => resourcesOf(frontend))) {
      const askers = resources.flatMap(({ askedForBy = [] }) => askedForBy)
      assert.deepEqual(
        askers.filter(ref => !resources.some(resource => refKey(resource) === refKey(ref))),
        [],
      )
      const routes = resources.filter(({ typeUrl }) => typeUrl === typeUrls.route)
      assert.ok(routes.every(({ askedForBy }) => askedForBy!.length > 0))
    }
  }
})

test('http Service ports with default connections share a listener with the others of their family', () => {
  const listeners = (frontend: Frontend) =>
    configurationOf([frontend])
      .filter(({ typeUrl, name }) => typeUrl === typeUrls.listener && name !== 'scopes')
      .map(({ name }) => name)
  const ofPort = (port: number, fields: Partial<PortState> = {}) =>
    aPortState({ port: { name: 'http', protocol: 'TCP', port }, ...fields })
  assert.deepEqual(listeners(aPortState()), ['shared-IPv4'])
  assert.deepEqual(listeners(ofPort(8080, { family: 'IPv6', vip: 'fd00::1' })), ['shared-IPv6'])
  for (const port of [30_080, 1666, 1667]) assert.deepEqual(listeners(ofPort(port)), ['shared-IPv4'])
  assert.deepEqual(listeners(fromOutside()), ['192.0.2.7:80', '0.0.0.0:30080'])
  // Its scope stays beside a listener of its own, for connections from before it got one.
  const idle = { ...defaultSettings, idleTimeout: 1000 }
  assert.deepEqual(listeners(aPortState({ settings: idle })), ['shared-IPv4', '10.96.0.10:80'])
  const two = [aPortState(), aPortState({ id: 'whoami/two/http', name: 'two', port: aPort({ port: 81 }) })]
  assert.equal(configurationOf(two).filter(({ typeUrl }) => typeUrl === typeUrls.listener).length, 2)
})

test('shared listeners have one filter, and their family is all that tells them apart', () => {
  const ports = [80, 81].map(port => aPortState({ port: { name: 'http', protocol: 'TCP', port } }))
  const resources = configurationOf([...ports, aPortState({ family: 'IPv6', vip: 'fd00::1' })])
  const ofType = (type: TypeUrl) => resources.filter(({ typeUrl }) => typeUrl === type)
  assert.deepEqual(
    ofType(typeUrls.filter).map(({ name }) => name),
    ['shared/http'],
  )
  const bound = ofType(typeUrls.listener).filter(({ name }) => name !== 'scopes')
  const listeners = bound.map(({ encode }) => {
    const { name: _name, address: _address, ...rest } = fromBinary(ListenerSchema, encode())
    return rest
  })
  assert.equal(listeners.length, 2)
  for (const listener of listeners) assert.deepEqual(listener, listeners[0])
})

test('the external frontend is published as a Service port of its own, with a listener for each address and its own endpoints', () => {
  const resources = resourcesOf(fromOutside())
  assert.deepEqual(
    resources.map(({ name }) => name),
    [
      ...new Array(3).fill('whoami/whoami/http/external'),
      'whoami/whoami/http/external/http',
      'whoami/whoami/http/external/tcp',
      '192.0.2.7:80',
      '0.0.0.0:30080',
    ],
  )
  const [, endpoints] = resources
  const { endpoints: groups } = fromBinary(ClusterLoadAssignmentSchema, endpoints!.encode())
  assert.equal(groups.flatMap(({ lbEndpoints }) => lbEndpoints).length, 1)
  const six = frontendsOf(
    aPortState({ family: 'IPv6', vip: 'fd00::10', external: { ...reached, loadBalancerIPs: [] } }),
  )
  assert.equal(resourcesOf(six[1]!).at(-1)?.name, '[::]:30080')
})

test("endpoints see the client's address by the VIP and by policy Local alone, where the node can", () => {
  const hasSource = (frontend: Frontend, clientMark?: number) =>
    configurationOf([frontend], { clientMark })
      .filter(({ typeUrl, name }) => typeUrl === typeUrls.listener && name !== 'scopes')
      .map(({ encode }) =>
        fromBinary(ListenerSchema, encode()).listenerFilters.some(({ name }) => name.endsWith('original_src')),
      )
  assert.deepEqual(hasSource(aPortState(), 0x2000), [true])
  assert.deepEqual(hasSource(fromOutside(), 0x2000), [true, true])
  assert.deepEqual(hasSource(fromOutside({ policy: 'Cluster' }), 0x2000), [false, false])
  for (const frontend of [aPortState(), fromOutside()]) assert.ok(!hasSource(frontend, undefined).includes(true))
  const [local, cluster] = [fromOutside(), fromOutside({ policy: 'Cluster' })]
  const node = { clientMark: 0x2000 }
  const told = { frontend: local, isDraining: false, node, resources: resourcesOf(local, node) }
  const versions = (before?: Published) => resourcesOf(cluster, node, before).map(({ version }) => version)
  assert.deepEqual(versions(told), versions())
})

test('a client’s FIN waits for answers where Envoy has the module, unless the port says otherwise', () => {
  const filtersOf = (halfClose: Settings['halfClose'], hasModule: boolean) => {
    const frontend = aPortState({ settings: { ...defaultSettings, halfClose, idleTimeout: 5000 } })
    const [own] = resourcesOf(frontend, { hasModule }).filter(({ typeUrl }) => typeUrl === typeUrls.listener)
    const { listenerFilters, filterChains } = fromBinary(ListenerSchema, own!.encode())
    return [...listenerFilters, ...filterChains[0]!.filters].map(({ name }) => name.replace(/^envoy.filters.*\./, ''))
  }
  const [waits, detects] = ['lightpath.half-close', 'lightpath.detection']
  assert.deepEqual(filtersOf('auto', true), [detects, waits, '10.96.0.10:80/http'])
  assert.deepEqual(filtersOf('false', true), [detects, '10.96.0.10:80/http'])
  assert.deepEqual(filtersOf('auto', false), ['http_inspector', '10.96.0.10:80/http'])
  assert.deepEqual(filtersOf('true', false), ['http_inspector', waits, '10.96.0.10:80/http'])
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

function references(resources: readonly Resource[]) {
  return resources.map(({ typeUrl, name, requires }) => ({ typeUrl, name, requires }))
}
