/**
 * Objects as somebody would write them who wants to break the agent, its Envoy or the Services of others: of every kind,
 * nearly right, with a few values replaced by what no value should be. Only what a tenant may write is about the tenant's
 * own namespaces; addresses of others are claimed all the same.
 */

import fc from 'fast-check'
import { settingDefinitions } from '../../../src/services/settings/definitions.ts'

/** What belongs to others. */
export interface Victim {
  readonly vips: readonly string[]
  readonly endpoints: readonly string[]
  readonly nodeAddresses: readonly string[]
}

const prototypeNames = ['constructor', 'prototype', '__proto__', 'hasOwnProperty', 'toString', 'valueOf', 'then']

const hostileText = fc.oneof(
  fc.constantFrom(
    ...prototypeNames,
    ...['', ' ', '\u0000', '\u001b[2J\u001b]0;x\u0007', 'a\nb: c', '\u202eevil', '\ud800', '🙂'.repeat(50)],
    ...['%DOWNSTREAM_LOCAL_ADDRESS%', '%REQ(:path)%', '${jndi:x}', '*', '(a+)+$', '../../../etc/passwd', '{{ . }}'],
    ...['0', '-0', '1e400', 'NaN', '0x10', '99999999999999999999', 'true', 'null', '1ms', '-1s', '8760h', '100'],
    ...['255.255.255.255', '10.96.0.1/33', '::ffff:127.0.0.1', 'fe80::1%eth0', '0177.0.0.1', '10.1', '::'],
  ),
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.constantFrom('x'.repeat(64), 'a'.repeat(254), '/'.repeat(4000), `${'a.'.repeat(2000)}a`),
)

const hostileValue: fc.Arbitrary<unknown> = fc.oneof(
  hostileText,
  fc.constantFrom<unknown>(null, true, false, [], {}, 0, -1, 1.5, 65_536, 2 ** 53, 1e308, [[[]]], [null], [{}]),
  fc.constantFrom(...prototypeNames).map(name => JSON.parse(`{"${name}": {"polluted": true}}`) as unknown),
  fc.array(hostileText, { maxLength: 5 }),
  fc.nat({ max: 60 }).map(depth => JSON.parse('{"a":'.repeat(depth) + '[]' + '}'.repeat(depth)) as unknown),
)

/** Where policies and Pods are told, ports stay in the kernel layer: so these are in a few namespaces only. */
const restrictedNamespaces = fc.nat({ max: 2 }).map(index => `evil-${index}`)
const namespaces = fc.nat({ max: 9 }).map(index => `evil-${index}`)
const names = fc.oneof(
  fc.nat({ max: 60 }).map(index => `s${index}`),
  fc.constantFrom('constructor', 'prototype', 'hasownproperty', 'external', 'x'.repeat(63)),
)
const portNames = ['http', 'http-1', 'https', 'grpc', 'tcp', 'constructor', 'external', 'x'.repeat(15)]
const portNumber = fc.oneof(
  fc.constantFrom(80, 80, 80, 443, 1666, 1667, 9000, 15_000, 18_000, 30_000, 65_535, 1),
  fc.integer({ min: 1, max: 65_535 }),
)
const dates = fc.constantFrom('2026-06-01T00:00:00Z', '2027-01-01T00:00:00Z')

function addressesFor(victim: Victim) {
  const own = fc.nat({ max: 255 })
  return {
    /** The API server gives none out beyond its ranges, but two Services may claim one. */
    clusterIP: fc.oneof(
      { weight: 12, arbitrary: own.map(last => `10.97.0.${last}`) },
      { weight: 3, arbitrary: own.map(last => `fd00:97::${last.toString(16)}`) },
      { weight: 1, arbitrary: fc.constantFrom(...victim.vips) },
    ),
    /** As load balancers have it, and as anybody may write. */
    external: fc.oneof(
      { weight: 12, arbitrary: own.map(last => `10.97.0.${last}`) },
      { weight: 3, arbitrary: own.map(last => `fd00:97::${last.toString(16)}`) },
      { weight: 1, arbitrary: fc.constantFrom(...victim.vips, ...victim.endpoints, ...victim.nodeAddresses) },
    ),
    endpoint: fc.oneof(
      own.map(last => `10.244.99.${last}`),
      own.map(last => `fd00:244:99::${last.toString(16)}`),
      fc.constantFrom(...victim.endpoints, ...victim.vips, ...victim.nodeAddresses),
    ),
  }
}

const settings = fc
  .array(
    fc.tuple(
      fc.constantFrom(...portNames, '80'),
      fc.constantFrom(...settingDefinitions.map(({ name }) => name), 'no-such-setting'),
      fc.oneof(hostileText, fc.constantFrom('true', '5s', '1', 'none', 'RING_HASH', 'MAGLEV', '5xx', '1000000000')),
    ),
    { maxLength: 6 },
  )
  .map(entries =>
    Object.fromEntries(entries.map(([port, name, value]) => [`config.lightpath.cloud/${port}-${name}`, value])),
  )

const labels = fc.dictionary(
  fc.constantFrom('app', 'lightpath.cloud/proxy', 'lightpath', 'service.kubernetes.io/headless', ...prototypeNames),
  hostileText,
  { maxKeys: 3 },
)

const metadata = fc.record({ name: names, namespace: namespaces, labels, creationTimestamp: dates })
const restrictedMetadata = fc.record({ name: names, namespace: restrictedNamespaces, labels })

function service(victim: Victim): fc.Arbitrary<object> {
  const { clusterIP, external } = addressesFor(victim)
  return fc.record({
    apiVersion: fc.constant('v1'),
    kind: fc.constant('Service'),
    metadata: fc.tuple(metadata, settings).map(([own, annotations]) => ({ ...own, annotations })),
    spec: fc.record({
      type: fc.constantFrom('ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName'),
      clusterIPs: fc.uniqueArray(clusterIP, { minLength: 1, maxLength: 2 }),
      ports: fc.array(
        fc.record(
          {
            name: fc.constantFrom(...portNames),
            port: portNumber,
            protocol: fc.constantFrom('TCP', 'TCP', 'TCP', 'UDP', 'SCTP'),
            nodePort: fc.oneof(fc.integer({ min: 30_000, max: 32_767 }), portNumber),
            appProtocol: fc.oneof(fc.constantFrom('http', 'kubernetes.io/h2c', 'grpc', 'tcp'), hostileText),
          },
          { requiredKeys: ['port', 'name'] },
        ),
        { minLength: 1, maxLength: 5 },
      ),
      externalIPs: fc.array(external, { maxLength: 3 }),
      loadBalancerSourceRanges: fc.array(fc.constantFrom('10.0.0.0/8', '0.0.0.0/0', '192.0.2.0/24', '::/0', 'x'), {
        maxLength: 3,
      }),
      sessionAffinity: fc.constantFrom('None', 'None', 'ClientIP'),
      internalTrafficPolicy: fc.constantFrom('Cluster', 'Cluster', 'Local'),
      externalTrafficPolicy: fc.constantFrom('Cluster', 'Local'),
      healthCheckNodePort: fc.constantFrom(0, 32_000, 9000, 1666),
    }),
    status: fc.record({
      loadBalancer: fc.record({ ingress: fc.array(fc.record({ ip: external }), { maxLength: 2 }) }),
    }),
  })
}

function slice(victim: Victim): fc.Arbitrary<object> {
  const { endpoint } = addressesFor(victim)
  return fc
    .record({
      metadata,
      service: names,
      addressType: fc.constantFrom('IPv4', 'IPv4', 'IPv6', 'FQDN'),
      ports: fc.array(
        fc.record({
          name: fc.constantFrom(...portNames),
          port: portNumber,
          protocol: fc.constantFrom('TCP', 'TCP', 'UDP'),
        }),
        { maxLength: 5 },
      ),
      endpoints: fc.array(
        fc.record(
          {
            addresses: fc.array(endpoint, { minLength: 1, maxLength: 2 }),
            conditions: fc.record({ ready: fc.boolean(), serving: fc.boolean(), terminating: fc.boolean() }),
            nodeName: fc.oneof(fc.constantFrom('node1', 'node2'), hostileText),
            zone: hostileText,
            targetRef: fc.record({ kind: fc.constant('Pod'), name: names, namespace: namespaces }),
          },
          { requiredKeys: ['addresses'] },
        ),
        { maxLength: 8 },
      ),
    })
    .map(({ metadata: own, service: of, ...rest }) => ({
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { ...own, labels: { ...own.labels, 'kubernetes.io/service-name': of } },
      ...rest,
    }))
}

const selector = fc.record({
  matchLabels: labels,
  matchExpressions: fc.array(
    fc.record({ key: hostileText, operator: fc.constantFrom('In', 'Exists', 'Never'), values: fc.array(hostileText) }),
    { maxLength: 3 },
  ),
})

const policy = fc.record({
  apiVersion: fc.constant('networking.k8s.io/v1'),
  kind: fc.constant('NetworkPolicy'),
  metadata: restrictedMetadata,
  spec: fc.record({
    podSelector: selector,
    policyTypes: fc.subarray(['Ingress', 'Egress', 'x']),
    ingress: fc.array(fc.record({ from: fc.array(fc.record({ podSelector: selector }), { maxLength: 20 }) })),
  }),
})

const pod = fc.record({
  apiVersion: fc.constant('v1'),
  kind: fc.constant('Pod'),
  metadata: restrictedMetadata,
  spec: fc.record({ nodeName: fc.constantFrom('node1', 'node2'), hostNetwork: fc.boolean() }),
  status: fc.record({
    phase: fc.constantFrom('Running', 'Failed'),
    podIPs: fc.array(fc.record({ ip: fc.nat({ max: 255 }).map(last => `10.244.99.${last}`) }), { maxLength: 3 }),
  }),
})

const clusterScoped = fc.oneof(
  fc.record({ name: namespaces, labels }).map(own => ({ apiVersion: 'v1', kind: 'Namespace', metadata: own })),
  fc
    .record({ name: names, labels, addresses: fc.array(hostileText, { maxLength: 3 }) })
    .map(({ addresses, ...own }) => ({
      apiVersion: 'v1',
      kind: 'Node',
      metadata: own,
      spec: { podCIDRs: ['10.99.0.0/16'], taints: [{ key: 'x' }] },
      status: { addresses: addresses.map(address => ({ type: 'InternalIP', address })) },
    })),
  fc
    .record({ name: names, cidr: fc.oneof(fc.constantFrom('10.97.0.0/16', 'fd00:97::/112'), hostileText) })
    .map(({ name, cidr }) => ({
      apiVersion: 'networking.k8s.io/v1',
      kind: 'ServiceCIDR',
      metadata: { name },
      spec: { cidrs: [cidr] },
    })),
)

/** A Service with an EndpointSlice that makes it fit for Envoy. */
function pair(victim: Victim): fc.Arbitrary<readonly object[]> {
  const { clusterIP, external } = addressesFor(victim)
  return fc
    .record({
      name: fc.nat({ max: 999 }).map(index => `pair-${index}`),
      namespace: fc.nat({ max: 6 }).map(index => `evil-${index + 3}`),
      // One of these makes a listener of its own, which Envoy may refuse.
      annotations: fc.oneof(settings, fc.constant({ 'config.lightpath.cloud/http-access-log': 'true' })),
      vip: clusterIP,
      externalIPs: fc.array(external, { maxLength: 1 }),
      ports: fc.uniqueArray(fc.record({ name: fc.constantFrom('http', 'http-1', 'http-x'), port: portNumber }), {
        minLength: 1,
        maxLength: 3,
        selector: ({ name }) => name,
      }),
      hosts: fc.uniqueArray(fc.nat({ max: 255 }), { maxLength: 6 }),
    })
    .map(({ name, namespace, annotations, vip, externalIPs, ports, hosts }) => {
      const isIPv6 = vip.includes(':')
      const service = {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name, namespace, annotations, creationTimestamp: '2026-06-01T00:00:00Z' },
        spec: { clusterIPs: [vip], externalIPs, ports: ports.map(port => ({ ...port, nodePort: 0 })) },
      }
      const slice = {
        apiVersion: 'discovery.k8s.io/v1',
        kind: 'EndpointSlice',
        metadata: { name: `${name}-x`, namespace, labels: { 'kubernetes.io/service-name': name } },
        addressType: isIPv6 ? 'IPv6' : 'IPv4',
        ports: ports.map(port => ({ name: port.name, port: 8080 })),
        endpoints: hosts.map(host => ({
          addresses: [isIPv6 ? `fd00:244:99::${host.toString(16)}` : `10.244.99.${host}`],
          targetRef: { kind: 'Pod', name: `pod-${host}`, namespace },
        })),
      }
      return [service, slice]
    })
}

/** Any of them, most of all those that reach Envoy and the kernel. */
export function hostileObjects(victim: Victim): fc.Arbitrary<readonly object[]> {
  const alone = (object: fc.Arbitrary<object>) => object.map(one => [one])
  const good = fc.oneof(
    { weight: 5, arbitrary: pair(victim) },
    { weight: 4, arbitrary: alone(service(victim)) },
    { weight: 4, arbitrary: alone(slice(victim)) },
    { weight: 1, arbitrary: alone(policy) },
    { weight: 1, arbitrary: alone(pod) },
    { weight: 1, arbitrary: alone(clusterScoped) },
  )
  const changes = fc.oneof(
    { weight: 1, arbitrary: fc.constant([]) },
    { weight: 1, arbitrary: fc.array(fc.tuple(fc.nat(), hostileValue), { minLength: 1, maxLength: 3 }) },
  )
  return fc.tuple(good, changes).map(([objects, mutations]) => objects.map(object => mutations.reduce(mutate, object)))
}

/** With another value at one of its places; its namespace stays. */
function mutate(object: object, [at, value]: readonly [at: number, value: unknown]): object {
  const copy = structuredClone(object) as Record<string, unknown>
  const places = [...placesIn(copy)]
  const [parent, key] = places[at % places.length]!
  parent[key] = value
  return copy
}

function* placesIn(value: unknown): Generator<readonly [parent: Record<string, unknown>, key: string]> {
  if (typeof value !== 'object' || value === null) return
  const parent = value as Record<string, unknown>
  for (const key of Object.keys(parent)) {
    if (key === 'namespace' || key === 'metadata' || key === 'creationTimestamp') continue
    yield [parent, key]
  }
  for (const inner of Object.values(parent)) yield* placesIn(inner)
}
