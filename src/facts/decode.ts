/** Decodes the messages of lightpath.facts.v1 to the objects that were encoded. */

import { fromBinary } from '@bufbuild/protobuf'
import type { IpFamily, Protocol } from '../net/address.ts'
import type { EndpointSlice, SliceEndpoint } from '../services/objects/endpointslice.ts'
import type { Direction, LabelSelector, OtherPolicy } from '../services/objects/networkpolicy.ts'
import type { KubeObject } from '../services/objects/objects.ts'
import { otherPolicyKind, otherPolicyKinds } from '../services/objects/policykinds.ts'
import type { Service, TrafficPolicy } from '../services/objects/service.ts'
import { sharedList, sharedObject, sharedRecord, sharedText, trimmedList } from '../text/raw.ts'
import {
  type Endpoint,
  EndpointSliceSchema,
  type LabelSelector as LabelSelectorMessage,
  NamespaceSchema,
  NetworkPolicySchema,
  NodeSchema,
  OtherPolicySchema,
  PodSchema,
  ServiceCIDRSchema,
  ServiceSchema,
} from './api/lightpath/facts/v1/facts_pb.js'
import type { FactType } from './types.ts'

/** @throws Error where the bytes are no such message, or have a value that this version does not know */
export function decodeFact(type: FactType, bytes: Uint8Array): KubeObject {
  return decoders[type](bytes)
}

const decoders: Readonly<Record<FactType, (bytes: Uint8Array) => KubeObject>> = {
  Service: decodeService,
  EndpointSlice: decodeSlice,
  Namespace: bytes => {
    const { name, labels } = fromBinary(NamespaceSchema, bytes)
    return { kind: 'Namespace', name, labels: sharedRecord(labels) }
  },
  Node: bytes => {
    const { name, labels, addresses, podCidrs, leaving } = fromBinary(NodeSchema, bytes)
    return { kind: 'Node', name, labels, addresses, podCidrs, leaving }
  },
  Pod: bytes => {
    const { namespace, name, labels, nodeName, addresses } = fromBinary(PodSchema, bytes)
    const shared = { namespace: sharedText(namespace), labels: sharedRecord(labels), nodeName: sharedText(nodeName) }
    return { kind: 'Pod', name, addresses: trimmedList(addresses), ...shared }
  },
  ServiceCIDR: bytes => {
    const { name, cidrs } = fromBinary(ServiceCIDRSchema, bytes)
    return { kind: 'ServiceCIDR', name, cidrs }
  },
  NetworkPolicy: bytes => {
    const { namespace, name, restricts, podSelector } = fromBinary(NetworkPolicySchema, bytes)
    const selector = selectorOf(podSelector)
    return { kind: 'NetworkPolicy', namespace, name, restricts: directions(restricts), podSelector: selector }
  },
  OtherPolicy: bytes => {
    const { kind, namespace, name, restricts } = fromBinary(OtherPolicySchema, bytes)
    const object: OtherPolicy = {
      kind: known('kind', kind, policyKinds),
      namespace,
      name,
      restricts: directions(restricts),
    }
    return object
  },
}

const policyKinds = otherPolicyKinds.map(otherPolicyKind)
const protocols: readonly Protocol[] = ['TCP', 'UDP', 'SCTP']
const families: readonly IpFamily[] = ['IPv4', 'IPv6']
const trafficPolicies: readonly TrafficPolicy[] = ['Cluster', 'Local']
const serviceTypes = ['ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName'] as const
const affinities = ['None', 'ClientIP'] as const
const operators = ['In', 'NotIn', 'Exists', 'DoesNotExist'] as const
const bothDirections: readonly Direction[] = ['ingress', 'egress']

function known<T extends string>(field: string, value: string, values: readonly T[]): T {
  const found = values.find(candidate => candidate === value)
  if (found === undefined) throw new Error(`${field} ${JSON.stringify(value)} is none of ${values.join(', ')}`)
  return found
}

function directions(restricts: readonly string[]): readonly Direction[] {
  return sharedList(restricts.map(direction => known('restricts', direction, bothDirections)))
}

function decodeService(bytes: Uint8Array): Service {
  const message = fromBinary(ServiceSchema, bytes)
  const { name, affinitySeconds, healthCheckNodePort, createdMs, uid } = message
  return {
    kind: 'Service',
    namespace: sharedText(message.namespace),
    name,
    labels: sharedRecord(message.labels),
    annotations: sharedRecord(message.annotations),
    type: known('type', message.type, serviceTypes),
    clusterIPs: trimmedList(message.clusterIps),
    ports: sharedList(
      message.ports.map(({ name, protocol, port, appProtocol, nodePort }) => ({
        name,
        protocol: known('protocol', protocol, protocols),
        port,
        ...(nodePort !== undefined && { nodePort }),
        ...(appProtocol !== undefined && { appProtocol }),
      })),
    ),
    sessionAffinity: known('session_affinity', message.sessionAffinity, affinities),
    affinitySeconds,
    internalTrafficPolicy: known('internal_traffic_policy', message.internalTrafficPolicy, trafficPolicies),
    externalTrafficPolicy: known('external_traffic_policy', message.externalTrafficPolicy, trafficPolicies),
    externalIPs: sharedList(message.externalIps),
    loadBalancerIPs: sharedList(message.loadBalancerIps),
    loadBalancerSourceRanges: sharedList(message.loadBalancerSourceRanges),
    healthCheckNodePort,
    created: createdMs === undefined ? Number.MAX_SAFE_INTEGER : Number(createdMs),
    ...(uid !== undefined && { uid }),
  }
}

function decodeSlice(bytes: Uint8Array): EndpointSlice {
  const { namespace, name, service, family, ports, endpoints, triggeredMs } = fromBinary(EndpointSliceSchema, bytes)
  return {
    kind: 'EndpointSlice',
    namespace: sharedText(namespace),
    name,
    service,
    family: known('family', family, families),
    ports: sharedList(
      ports.map(({ name, protocol, port }) => ({ name, protocol: known('protocol', protocol, protocols), port })),
    ),
    endpoints: endpoints.map(endpointOf),
    ...(triggeredMs !== undefined && { triggered: Number(triggeredMs) }),
  }
}

function endpointOf({
  ip,
  ready,
  serving,
  terminating,
  nodeName,
  zone,
  isPod,
  forZones,
  forNodes,
}: Endpoint): SliceEndpoint {
  const traits = {
    ready,
    serving,
    terminating,
    nodeName: nodeName && sharedText(nodeName),
    zone: zone && sharedText(zone),
    isPod,
    ...(forZones.length > 0 && { forZones: sharedList(forZones) }),
    ...(forNodes.length > 0 && { forNodes: sharedList(forNodes) }),
  }
  return { ip, traits: sharedObject(traits) }
}

function selectorOf(message: LabelSelectorMessage | undefined): LabelSelector {
  return {
    matchLabels: message?.matchLabels ?? {},
    matchExpressions: (message?.matchExpressions ?? []).map(({ key, operator, values }) => ({
      key,
      operator: known('operator', operator, operators),
      values,
    })),
  }
}
