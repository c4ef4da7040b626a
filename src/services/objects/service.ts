/** A Service as Kubernetes asked for it, cut to what a proxy on a node uses. */

import type { Protocol } from '../../net/address.ts'

/** A port of a Service. `name` is '' for the only port of a Service that does not name it. */
export interface ServicePort {
  readonly name: string
  readonly protocol: Protocol
  /** The port that clients connect to on the VIP, 1 to 65535. */
  readonly port: number
  readonly appProtocol?: string
  /** The port that leads here on the nodes' own addresses. */
  readonly nodePort?: number
}

/** The name of a port in ids and annotations: its name, or its number where it has none. */
export function portLabel(port: ServicePort): string {
  return port.name === '' ? String(port.port) : port.name
}

export type TrafficPolicy = 'Cluster' | 'Local'

export interface Service {
  readonly kind: 'Service'
  readonly namespace: string
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly annotations: Readonly<Record<string, string>>
  readonly type: 'ClusterIP' | 'NodePort' | 'LoadBalancer' | 'ExternalName'
  /** Cluster IPs (VIPs) in canonical text, at most one per family; empty for headless and ExternalName. */
  readonly clusterIPs: readonly string[]
  readonly ports: readonly ServicePort[]
  readonly sessionAffinity: 'None' | 'ClientIP'
  /** `sessionAffinityConfig.clientIP.timeoutSeconds`; has an effect with sessionAffinity ClientIP only. */
  readonly affinitySeconds: number
  readonly internalTrafficPolicy: TrafficPolicy
  readonly externalTrafficPolicy: TrafficPolicy
  /** Canonical, of both families, as are the next. */
  readonly externalIPs: readonly string[]
  /** Ingress IPs of the load balancer whose `ipMode` is VIP or absent. */
  readonly loadBalancerIPs: readonly string[]
  /** CIDRs; empty where all clients are admitted. */
  readonly loadBalancerSourceRanges: readonly string[]
  /** Where a load balancer asks this node whether it has endpoints of the Service. */
  readonly healthCheckNodePort: number | undefined
  /**
   * Milliseconds since the epoch; far in the future where the object does not say. Decides who owns a VIP:port that two
   * claim.
   */
  readonly created: number
  /** The UID by which Events name the Service; undefined where it comes from a manifest. */
  readonly uid?: string
}

export interface Namespace {
  readonly kind: 'Namespace'
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
}

export interface Node {
  readonly kind: 'Node'
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  /** InternalIP addresses in canonical text, and ExternalIPs of a family in which there are none. */
  readonly addresses: readonly string[]
  /** The ranges of its pods' addresses; canonical. */
  readonly podCidrs: readonly string[]
  /**
   * It is being deleted, or the cluster autoscaler is about to delete it: load balancers are to drain it (KEP-3836).
   */
  readonly leaving: boolean
}
