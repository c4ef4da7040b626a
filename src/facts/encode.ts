/** Encodes objects as the messages of lightpath.facts.v1. */

import { create, type DescMessage, type MessageInitShape, toBinary } from '@bufbuild/protobuf'
import type { EndpointSlice, SliceEndpoint } from '../services/objects/endpointslice.ts'
import type { KubeObject } from '../services/objects/objects.ts'
import type { Service } from '../services/objects/service.ts'
import {
  EndpointSliceSchema,
  NamespaceSchema,
  NetworkPolicySchema,
  NodeSchema,
  OtherPolicySchema,
  PodSchema,
  ServiceCIDRSchema,
  ServiceSchema,
} from './api/lightpath/facts/v1/facts_pb.js'

export function encodeFact(object: KubeObject): Uint8Array {
  switch (object.kind) {
    case 'Service':
      return bytes(ServiceSchema, serviceMessage(object))
    case 'EndpointSlice':
      return bytes(EndpointSliceSchema, sliceMessage(object))
    case 'Namespace':
      return bytes(NamespaceSchema, { name: object.name, labels: { ...object.labels } })
    case 'Node': {
      const { name, labels, addresses, podCidrs, leaving } = object
      const lists = { addresses: [...addresses], podCidrs: [...podCidrs] }
      return bytes(NodeSchema, { name, labels: { ...labels }, ...lists, leaving })
    }
    case 'Pod': {
      const { namespace, name, labels, nodeName, addresses } = object
      return bytes(PodSchema, { namespace, name, labels: { ...labels }, nodeName, addresses: [...addresses] })
    }
    case 'ServiceCIDR':
      return bytes(ServiceCIDRSchema, { name: object.name, cidrs: [...object.cidrs] })
    case 'NetworkPolicy': {
      const { namespace, name, restricts, podSelector } = object
      const matchExpressions = podSelector.matchExpressions.map(one => ({ ...one, values: [...one.values] }))
      const selector = { matchLabels: { ...podSelector.matchLabels }, matchExpressions }
      return bytes(NetworkPolicySchema, { namespace, name, restricts: [...restricts], podSelector: selector })
    }
    default: {
      const { kind, namespace, name, restricts } = object
      return bytes(OtherPolicySchema, { kind, namespace, name, restricts: [...restricts] })
    }
  }
}

function bytes<T extends DescMessage>(schema: T, message: MessageInitShape<T>): Uint8Array {
  return toBinary(schema, create(schema, message))
}

function serviceMessage(service: Service): MessageInitShape<typeof ServiceSchema> {
  const { namespace, name, type, sessionAffinity, affinitySeconds, created, uid } = service
  return {
    namespace,
    name,
    labels: { ...service.labels },
    annotations: { ...service.annotations },
    type,
    clusterIps: [...service.clusterIPs],
    ports: service.ports.map(port => ({ ...port })),
    sessionAffinity,
    affinitySeconds,
    internalTrafficPolicy: service.internalTrafficPolicy,
    externalTrafficPolicy: service.externalTrafficPolicy,
    externalIps: [...service.externalIPs],
    loadBalancerIps: [...service.loadBalancerIPs],
    loadBalancerSourceRanges: [...service.loadBalancerSourceRanges],
    healthCheckNodePort: service.healthCheckNodePort,
    createdMs: created === Number.MAX_SAFE_INTEGER ? undefined : BigInt(created),
    uid,
  }
}

function sliceMessage(slice: EndpointSlice): MessageInitShape<typeof EndpointSliceSchema> {
  const { namespace, name, service, family, ports, endpoints, triggered } = slice
  return {
    namespace,
    name,
    service,
    family,
    ports: ports.map(port => ({ ...port })),
    endpoints: endpoints.map(endpointMessage),
    triggeredMs: triggered === undefined ? undefined : BigInt(triggered),
  }
}

function endpointMessage({ ip, traits: { forZones = [], forNodes = [], ...traits } }: SliceEndpoint) {
  return { ip, ...traits, forZones: [...forZones], forNodes: [...forNodes] }
}
