/** Objects for tests: a whole one from the few fields that a test is about. */

import { sharedObject } from '../text/raw.ts'
import type { EndpointSlice, EndpointTraits, SliceEndpoint } from './objects/endpointslice.ts'
import type { NetworkPolicy, Pod } from './objects/networkpolicy.ts'
import { type Change, type KubeObject, keyOf } from './objects/objects.ts'
import type { Namespace, Node, Service, ServicePort } from './objects/service.ts'

export function aPort(fields: Partial<ServicePort> = {}): ServicePort {
  return { name: 'http', protocol: 'TCP', port: 80, ...fields }
}

export function aService(fields: Partial<Service> = {}): Service {
  return {
    kind: 'Service',
    namespace: 'whoami',
    name: 'whoami',
    labels: {},
    annotations: {},
    type: 'ClusterIP',
    clusterIPs: ['10.96.0.10'],
    ports: [aPort()],
    sessionAffinity: 'None',
    affinitySeconds: 10_800,
    internalTrafficPolicy: 'Cluster',
    externalTrafficPolicy: 'Cluster',
    externalIPs: [],
    loadBalancerIPs: [],
    loadBalancerSourceRanges: [],
    healthCheckNodePort: undefined,
    created: 0,
    ...fields,
  }
}

export function anEndpoint(ip: string, fields: Partial<EndpointTraits> = {}): SliceEndpoint {
  return { ip, traits: sharedObject({ ready: true, serving: true, terminating: false, isPod: true, ...fields }) }
}

export function aSlice(endpoints: readonly SliceEndpoint[], fields: Partial<EndpointSlice> = {}): EndpointSlice {
  return {
    kind: 'EndpointSlice',
    namespace: 'whoami',
    name: 'whoami-1',
    service: 'whoami',
    family: 'IPv4',
    ports: [{ name: 'http', protocol: 'TCP', port: 8080 }],
    endpoints,
    ...fields,
  }
}

export function aNamespace(name: string, labels: Record<string, string> = {}): Namespace {
  return { kind: 'Namespace', name, labels }
}

export function aNode(zone: string, name = 'node1'): Node {
  const labels = { 'topology.kubernetes.io/zone': zone }
  return { kind: 'Node', name, labels, addresses: [], podCidrs: [], leaving: false }
}

export function aPod(name: string, ip: string, fields: Partial<Pod> = {}): Pod {
  return { kind: 'Pod', namespace: 'whoami', name, labels: {}, nodeName: 'node1', addresses: [ip], ...fields }
}

/** Selects all pods of its namespace. */
export function aNetworkPolicy(fields: Partial<NetworkPolicy> = {}): NetworkPolicy {
  const podSelector = { matchLabels: {}, matchExpressions: [] }
  return { kind: 'NetworkPolicy', namespace: 'whoami', name: 'all', restricts: ['ingress'], podSelector, ...fields }
}

export function put(object: KubeObject): Change {
  return { type: 'put', object }
}

export function remove(object: KubeObject): Change {
  return { type: 'remove', key: keyOf(object) }
}
