/** Objects for tests: a whole one from the few fields that a test is about. */

import type { EndpointSlice, SliceEndpoint } from './endpointslice.ts'
import type { PortState } from './port.ts'
import type { Service, ServicePort } from './service.ts'
import { defaultSettings } from './settings.ts'

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
  return { ip, ready: true, serving: true, terminating: false, ...fields }
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
