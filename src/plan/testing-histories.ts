/** Histories of changes, for properties: few names and addresses, so that objects meet. */

import fc from 'fast-check'
import type { Change, KubeObject } from '../services/objects/objects.ts'
import {
  aNamespace,
  aNetworkPolicy,
  aNode,
  anEndpoint,
  aPod,
  aPort,
  aService,
  aSlice,
  put,
  remove,
} from '../services/testing.ts'

const namespace = 'n'
const names = fc.constantFrom('a', 'b', 'c')
const policies = fc.constantFrom('Cluster', 'Local')
const anyLabels = fc.constantFrom<Record<string, string>>(
  {},
  { 'lightpath.cloud/proxy': 'disabled' },
  { 'service.kubernetes.io/service-proxy-name': 'lightpath.cloud' },
  { 'service.kubernetes.io/service-proxy-name': 'other' },
)

const anyService = fc
  .record({
    name: names,
    vip: fc.constantFrom('10.96.0.1', '10.96.0.2'),
    port: fc.constantFrom(80, 81),
    retries: fc.constantFrom('1', '2', 'x'),
    labels: anyLabels,
    nodePort: fc.constantFrom(undefined, 30001, 30002),
    externalIPs: fc.subarray(['10.96.0.1', '10.96.0.2', '192.0.2.1']),
    loadBalancerIPs: fc.subarray(['192.0.2.1', '192.0.2.2']),
    created: fc.constantFrom(1, 2),
    internalTrafficPolicy: policies,
    externalTrafficPolicy: policies,
    healthCheckNodePort: fc.constantFrom(undefined, 32000),
  })
  .map(({ vip, port, retries, nodePort, ...fields }) =>
    aService({
      namespace,
      type: 'LoadBalancer',
      clusterIPs: [vip],
      ports: [aPort({ port, ...(nodePort && { nodePort }) })],
      ...fields,
      annotations: { 'config.lightpath.cloud/http-num-retries': retries },
    }),
  )

const anyEndpoint = fc
  .record({
    last: fc.integer({ min: 1, max: 4 }),
    ready: fc.boolean(),
    forZones: fc.constantFrom(undefined, ['zone1'], ['zone2']),
  })
  .map(({ last, ready, forZones }) =>
    anEndpoint(`10.244.1.${last}`, { ready, nodeName: `node${last % 3}`, ...(forZones && { forZones }) }),
  )

const anyOther = fc.constantFrom<KubeObject>(
  aNamespace(namespace),
  aNamespace(namespace, { lightpath: 'disabled' }),
  aNode('zone1'),
  aNode('zone2'),
  aNode('zone2', 'node2'),
  aNode('zone1', 'node2'),
)

const anyOfPods = fc.constantFrom<KubeObject>(
  ...[1, 2, 3, 4].map(last => aPod(`pod${last}`, `10.244.1.${last}`, { namespace, nodeName: `node${last % 3}` })),
  aPod('pod1', '10.244.1.2', { namespace }),
  { ...aNode('zone2', 'node3'), addresses: ['10.244.1.4'] },
  aNetworkPolicy({ namespace }),
  aNetworkPolicy({ namespace, name: 'out', restricts: ['egress'] }),
)

const anySlice = fc
  .record({ name: names, service: names, endpoints: fc.array(anyEndpoint, { maxLength: 3 }) })
  .map(({ endpoints, ...fields }) => aSlice(endpoints, { namespace, ...fields }))

function historiesOf(...objects: readonly fc.Arbitrary<KubeObject>[]) {
  const anyObject = fc.oneof(...objects)
  const anyChange = fc.oneof(
    { weight: 3, arbitrary: anyObject.map(put) },
    { weight: 1, arbitrary: anyObject.map(remove) },
  )
  return fc.array(fc.array<Change>(anyChange, { maxLength: 4 }), { maxLength: 12 })
}

/**
 * Without pods and policies, of which a plan knows more than what is there: which namespaces had a port in Envoy, which
 * address a pod left.
 */
export const anyHistoryOfServices = historiesOf(anyService, anySlice, anyOther)
export const anyHistory = historiesOf(anyService, anySlice, anyOther, anyOfPods)
