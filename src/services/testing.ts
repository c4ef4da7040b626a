/** Objects for tests: a whole one from the few fields that a test is about. */

import assert from 'node:assert/strict'
import type { IpFamily } from '../net/address.ts'
import { EndpointChoice } from './model/endpoint-choice.ts'
import type { EndpointSlice, SliceEndpoint } from './objects/endpointslice.ts'
import { type Change, type KubeObject, keyOf } from './objects/objects.ts'
import type { Namespace, Node, Service, ServicePort } from './objects/service.ts'
import type { Here } from './ports/endpoints.ts'
import { type Outside, outsideOfAll, outsideOfPort } from './ports/outside.ts'
import type { PortState } from './ports/port.ts'
import { defaultSettings } from './settings/settings.ts'
import { ServiceTable } from './table.ts'

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

export function anEndpoint(ip: string, fields: Partial<SliceEndpoint> = {}): SliceEndpoint {
  return { ip, ready: true, serving: true, terminating: false, isPod: true, ...fields }
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

export function aPortState(fields: Partial<PortState> = {}): PortState {
  return {
    id: 'whoami/whoami/http',
    namespace: 'whoami',
    name: 'whoami',
    port: aPort(),
    family: 'IPv4',
    vip: '10.96.0.10',
    settings: defaultSettings,
    layer: { wants: 'envoy', protocol: 'http', reason: 'port name http' },
    endpoints: [
      { ip: '10.244.1.2', port: 8080 },
      { ip: '10.244.2.2', port: 8080 },
    ],
    onlyElsewhere: false,
    answering: [],
    affinitySeconds: undefined,
    external: undefined,
    ...fields,
  }
}

export function aNamespace(name: string, labels: Record<string, string> = {}): Namespace {
  return { kind: 'Namespace', name, labels }
}

export function aNode(zone: string): Node {
  const labels = { 'topology.kubernetes.io/zone': zone }
  return { kind: 'Node', name: 'node1', labels, addresses: [], podCidrs: [], leaving: false }
}

export function put(object: KubeObject): Change {
  return { type: 'put', object }
}

export function remove(object: KubeObject): Change {
  return { type: 'remove', key: keyOf(object) }
}

/** The table of node1 that has been told these. */
export function tableOf(...objects: readonly KubeObject[]): ServiceTable {
  const table = new ServiceTable('node1')
  table.apply(objects.map(put))
  return table
}

export function stateOf(table: ServiceTable, id = 'whoami/whoami/http'): PortState {
  const state = table.get(id)
  assert.ok(state, `${id} is served`)
  return state
}

export function outsideOf(service: Service, port: ServicePort, family: IpFamily): Outside | undefined {
  return outsideOfPort(outsideOfAll(service, family), port)
}

/** The endpoints of one port alone. */
export function chooseEndpoints(
  service: Service,
  port: ServicePort,
  family: IpFamily,
  slices: readonly EndpointSlice[],
  here: Here,
  outside?: Outside,
) {
  return new EndpointChoice(service, slices, here).of(port, family, outside)
}
