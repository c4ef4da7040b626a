import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { EndpointSlice } from '../services/objects/endpointslice.ts'
import { type KubeObject, keyOf } from '../services/objects/objects.ts'
import { otherPolicyKinds } from '../services/objects/policykinds.ts'
import type { Service } from '../services/objects/service.ts'
import { parseObject } from '../services/parse/parse.ts'
import { anEndpoint, aService, aSlice } from '../services/testing.ts'
import { decodeFact } from './decode.ts'
import { encodeFact } from './encode.ts'
import { encodeFreshness, readFreshness } from './freshness.ts'
import { encodeFacts, encodeResource } from './response.ts'
import { readFacts } from './told.ts'
import { type FactType, factTypes, isScope, nameOf, scopesOf, typeOf, typeUrlOf } from './types.ts'
import { isOlder, mayBeNewer, versionOf } from './versions.ts'

const maybe = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined })
const texts = fc.dictionary(fc.constantFrom('app', 'tier', 'lightpath', '__proto__'), fc.string(), { maxKeys: 3 })
const ips = fc.subarray(['10.0.0.1', 'fd00::1', '10.0.0.2'])
const port = fc.integer({ min: 1, max: 65535 })
const protocol = fc.constantFrom('TCP', 'UDP', 'SCTP')
const metadata = fc.record({
  namespace: fc.constantFrom('shop', 'other'),
  name: fc.constantFrom('cart', 'a-1'),
  labels: texts.map(labels => ({ ...labels, 'kubernetes.io/service-name': 'cart' })),
  annotations: fc.constantFrom({}, { 'config.lightpath.cloud/http-num-retries': '3' }),
  creationTimestamp: maybe(fc.constant('2026-11-29T10:00:00Z')),
  uid: maybe(fc.uuid()),
})

const service = fc.record({
  apiVersion: fc.constant('v1'),
  kind: fc.constant('Service'),
  metadata,
  spec: fc.record({
    type: maybe(fc.constantFrom('ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName')),
    clusterIPs: fc.constantFrom(['10.96.0.1'], ['10.96.0.1', 'fd00::9'], ['None'], []),
    ports: fc.array(
      fc.record({
        name: maybe(fc.constantFrom('http', 'dns')),
        port,
        protocol,
        appProtocol: maybe(fc.string()),
        nodePort: maybe(port),
      }),
      { maxLength: 2 },
    ),
    sessionAffinity: maybe(fc.constantFrom('None', 'ClientIP')),
    internalTrafficPolicy: maybe(fc.constantFrom('Cluster', 'Local')),
    externalTrafficPolicy: maybe(fc.constantFrom('Cluster', 'Local')),
    externalIPs: ips,
    loadBalancerSourceRanges: fc.subarray(['10.0.0.0/8', 'fd00::/8']),
    healthCheckNodePort: maybe(port),
  }),
  status: fc.record({ loadBalancer: fc.record({ ingress: fc.constantFrom([], [{ ip: '192.0.2.1' }]) }) }),
})

const slice = fc.record({
  apiVersion: fc.constant('discovery.k8s.io/v1'),
  kind: fc.constant('EndpointSlice'),
  metadata,
  addressType: fc.constantFrom('IPv4', 'IPv6'),
  ports: fc.array(fc.record({ name: maybe(fc.constantFrom('http', 'dns')), port, protocol }), { maxLength: 2 }),
  endpoints: fc.array(
    fc.record({
      addresses: fc.constantFrom(['10.0.0.1'], ['fd00::1']),
      conditions: fc.record({
        ready: maybe(fc.boolean()),
        serving: maybe(fc.boolean()),
        terminating: maybe(fc.boolean()),
      }),
      nodeName: maybe(fc.constantFrom('node1', 'node2')),
      zone: maybe(fc.constantFrom('a', 'b')),
      targetRef: maybe(fc.constant({ kind: 'Pod', namespace: 'shop' })),
      hints: maybe(fc.constantFrom({ forZones: [{ name: 'a' }] }, { forNodes: [{ name: 'node1' }] })),
    }),
    { maxLength: 3 },
  ),
})

const others = fc.oneof(
  fc.record({
    apiVersion: fc.constant('v1'),
    kind: fc.constant('Node'),
    metadata,
    spec: fc.record({ podCIDRs: fc.constantFrom([], ['10.244.1.0/24']) }),
    status: fc.record({ addresses: ips.map(all => all.map(address => ({ type: 'InternalIP', address }))) }),
  }),
  fc.record({ apiVersion: fc.constant('v1'), kind: fc.constant('Namespace'), metadata }),
  fc.record({
    apiVersion: fc.constant('v1'),
    kind: fc.constant('Pod'),
    metadata,
    spec: fc.constant({ nodeName: 'node1' }),
    status: fc.record({ phase: fc.constant('Running'), podIPs: ips.map(all => all.map(ip => ({ ip }))) }),
  }),
  fc.record({
    apiVersion: fc.constant('networking.k8s.io/v1'),
    kind: fc.constant('ServiceCIDR'),
    metadata,
    spec: fc.constant({ cidrs: ['10.96.0.0/16', 'fd00::/108'] }),
  }),
  fc.record({
    apiVersion: fc.constant('networking.k8s.io/v1'),
    kind: fc.constant('NetworkPolicy'),
    metadata,
    spec: fc.record({
      policyTypes: fc.subarray(['Ingress', 'Egress'], { minLength: 1 }),
      podSelector: fc.record({
        matchLabels: texts,
        matchExpressions: fc.subarray([
          { key: 'app', operator: 'In', values: ['a', 'b'] },
          { key: 'tier', operator: 'Exists' },
        ]),
      }),
    }),
  }),
  fc.record({
    apiVersion: fc.constantFrom(...otherPolicyKinds).map(({ group }) => `${group}/v1`),
    kind: fc.constantFrom(...otherPolicyKinds).map(({ kind }) => kind),
    metadata,
    spec: fc.constantFrom({}, { egress: [] }),
  }),
)

const response = (type: FactType, ...resources: readonly Uint8Array[]) =>
  encodeFacts({ type, nonce: '1', resources, removed: [] })

const anyObject = fc.oneof(service, slice, others).map(raw => parseObject(raw).object)

test('an agent gets every object as the control plane read it', () => {
  fc.assert(
    fc.property(anyObject, object => {
      if (!object) return
      assert.deepStrictEqual(decodeFact(typeOf(object.kind), encodeFact(object)), object)
    }),
    { numRuns: 1000 },
  )
})

test('endpoints of slices from a control plane share their traits with all that have equal ones', () => {
  const endpoints = ['10.0.0.1', '10.0.0.2'].map(ip => anEndpoint(ip, { nodeName: 'node1', zone: 'a' }))
  const decoded = decodeFact('EndpointSlice', encodeFact(aSlice(endpoints))) as EndpointSlice
  assert.equal(decoded.endpoints[0]!.traits, decoded.endpoints[1]!.traits)
})

test('Services from a control plane share their lists of external addresses with all that have equal ones', () => {
  const [one, other] = ['one', 'other'].map(name => decodeFact('Service', encodeFact(aService({ name }))) as Service)
  for (const list of ['externalIPs', 'loadBalancerIPs', 'loadBalancerSourceRanges'] as const)
    assert.equal(one![list], other![list])
})

test('a resource has its name, type and version, and no object is called like a scope', () => {
  fc.assert(
    fc.property(anyObject, object => {
      if (!object) return
      const [type, name] = [typeOf(object.kind), nameOf(keyOf(object))]
      const told = readFacts(response(type, encodeResource(type, name, '7', encodeFact(object))))
      assert.deepEqual(told.put, [{ name, version: '7', object }])
      assert.equal(isScope(name), false)
      assert.ok(scopesOf(object).every(isScope))
    }),
    { numRuns: 200 },
  )
})

test('a resource with a value of a newer version is named, and the others of the response are read', () => {
  const object = parseObject({ apiVersion: 'v1', kind: 'Service', metadata: { name: 'cart' }, spec: {} }).object!
  const newer = { ...object, type: 'Newer' } as unknown as KubeObject
  const fields = [newer, object].map((one, i) => encodeResource('Service', `shop/${i}`, '1', encodeFact(one)))
  const told = readFacts(response('Service', ...fields))
  assert.deepEqual(
    told.put.map(({ name }) => name),
    ['shop/1'],
  )
  assert.deepEqual(told.unreadable, [
    { name: 'shop/0', reason: 'type "Newer" is none of ClusterIP, NodePort, LoadBalancer, ExternalName' },
  ])
})

test('types have the names of the messages in proto/', () => {
  assert.deepEqual(factTypes.map(typeUrlOf).sort(), [
    'type.googleapis.com/lightpath.facts.v1.EndpointSlice',
    'type.googleapis.com/lightpath.facts.v1.Namespace',
    'type.googleapis.com/lightpath.facts.v1.NetworkPolicy',
    'type.googleapis.com/lightpath.facts.v1.Node',
    'type.googleapis.com/lightpath.facts.v1.OtherPolicy',
    'type.googleapis.com/lightpath.facts.v1.Pod',
    'type.googleapis.com/lightpath.facts.v1.Service',
    'type.googleapis.com/lightpath.facts.v1.ServiceCIDR',
  ])
})

test('versions are compared as numbers of any length, and one that is no number is neither older nor newer', () => {
  assert.ok(isOlder('9', '10') && !isOlder('10', '9') && !isOlder('10', '10'))
  assert.ok(mayBeNewer('18446744073709551617', '18446744073709551616'))
  assert.ok(!mayBeNewer('9', '10') && !mayBeNewer('10', '10'))
  assert.equal(versionOf('Service', 'abc/1'), '')
  assert.equal(versionOf('OtherPolicy', '12'), '')
  assert.ok(mayBeNewer('', '10') && mayBeNewer('10', '') && !isOlder('', '10') && !isOlder('10', ''))
})

test('the age of facts is read as it was told, and is told apart from facts', () => {
  const freshness = { seen: Date.UTC(2026, 0, 1), isCutOff: true }
  assert.deepEqual(readFreshness(encodeFreshness(freshness)), freshness)
  assert.equal(readFreshness(encodeFacts({ type: 'Node', nonce: '1', resources: [], removed: ['a'] })), undefined)
})
