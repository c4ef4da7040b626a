/** One port of a Service as this node is to serve it: what the Envoy and kernel layers are made from. */

import type { IpFamily } from '../../net/address.ts'
import { portLabel, type ServicePort, type TrafficPolicy } from '../../services/objects/service.ts'
import type { EnvoyProtocol } from '../../services/settings/envoyprotocol.ts'
import type { Settings } from '../../services/settings/settings.ts'
import { compareText } from '../../text/compare.ts'

/** An endpoint that this node may send connections of a Service port to. */
export interface Endpoint {
  readonly ip: string
  readonly port: number
  readonly nodeName?: string
  /** Why Envoy may not connect to it, whatever the layer; undefined where it may. See `PodIndex`. */
  readonly barred?: string
  /** Envoy goes on without it: it is about to be gone. See `Barred`. */
  readonly isLeft?: boolean
}

/** Orders endpoints by address, as text, and port. */
export function compareEndpoints(a: Pick<Endpoint, 'ip' | 'port'>, b: Pick<Endpoint, 'ip' | 'port'>): number {
  return compareText(a.ip, b.ip) || a.port - b.port
}

/** Which layer a Service port is meant for, and why in words for a user. */
export type Layer =
  | { readonly wants: 'envoy'; readonly protocol: EnvoyProtocol; readonly reason: string }
  | {
      readonly wants: 'kernel'
      readonly reason: string
      /** The port is for Envoy, but for an endpoint that Envoy may not connect to. */
      readonly isForEndpoint?: true
      /** The port is for Envoy, as this protocol, and waits for room there: see `EnvoyBudget`. */
      readonly waitsAs?: EnvoyProtocol
    }

/** Whether the port is in Envoy or waits for room there. */
export function isForEnvoy(layer: Layer): boolean {
  return layer.wants === 'envoy' || layer.waitsAs !== undefined
}

/**
 * The external addresses of a port: node port, external IPs and load-balancer IPs, all of the port's family. Source of
 * the rules: kube-proxy's `externalTrafficPolicy` and KEP-1669.
 */
export interface External {
  /** On every address that the node opens node ports on; undefined where the Service has none. */
  readonly nodePort: number | undefined
  /** `spec.externalIPs`, canonical. */
  readonly externalIPs: readonly string[]
  /** Ingress IPs of the load balancer whose `ipMode` is VIP (or absent), canonical. */
  readonly loadBalancerIPs: readonly string[]
  /** CIDRs that `loadBalancerIPs` admit; empty where they admit all. */
  readonly sourceRanges: readonly string[]
  readonly policy: TrafficPolicy
  /** Chosen for external clients by `policy`: for Local, endpoints on this node only. */
  readonly endpoints: readonly Endpoint[]
  /** Chosen as if `policy` were Cluster: pods and processes of the cluster use these also where it is Local. */
  readonly clusterEndpoints: readonly Endpoint[]
  /** `policy` is Local and there are endpoints, but none here: drop, where none at all means reject. */
  readonly noLocalEndpoints: boolean
  /** Which layer serves external clients. */
  readonly layer: Layer
}

/**
 * A port of a Service for one IP family. A dual-stack Service has two states a port: each VIP leads to endpoints of its
 * own family only, as behind kube-proxy.
 */
export interface PortState {
  /**
   * `namespace/name/port`, the port by name, or by number where it has none; the second family of a dual-stack Service
   * has its name appended: `namespace/name/port/IPv6`. Names the Envoy cluster, its endpoints and its routes.
   */
  readonly id: string
  readonly namespace: string
  readonly name: string
  readonly port: ServicePort
  readonly family: IpFamily
  /** The cluster IP, canonical. */
  readonly vip: string
  readonly settings: Settings
  readonly layer: Layer
  /** Chosen for this node, all of `family`, no duplicates, in order of address and port. */
  readonly endpoints: readonly Endpoint[]
  /**
   * Endpoints that topology leaves to other nodes or zones, for Envoy as far as `endpoints` are not enough (setting
   * spill-over); undefined where there are none. Without those that Envoy may not connect to.
   */
  readonly spillOver?: readonly Endpoint[] | undefined
  /**
   * UDP only: every endpoint that still answers (ready or serving), wherever it is and whatever is chosen. The clients
   * of others have to go elsewhere, which connections of TCP and SCTP find out by themselves.
   */
  readonly servingEndpoints: readonly Endpoint[]
  /**
   * Not for UDP: ready endpoints that get no new connections, since many nodes cannot reach them; undefined where there
   * are none. Nobody will answer connections that have begun to them.
   */
  readonly leftOut?: readonly Endpoint[] | undefined
  /**
   * There are endpoints, but none that this node may use (traffic policy Local): drop, where none at all means reject.
   */
  readonly noLocalEndpoints: boolean
  /** Seconds that a client's address stays with its endpoint; undefined without session affinity ClientIP. */
  readonly affinitySeconds: number | undefined
  /** Undefined for a port that is reached by its VIP only. */
  readonly external: External | undefined
}

/** @param second the family's name for the second family of a dual-stack Service */
export function portId(namespace: string, name: string, port: ServicePort, second?: IpFamily): string {
  const id = `${namespace}/${name}/${portLabel(port)}`
  return second === undefined ? id : `${id}/${second}`
}

/** `namespace/name` of a port state's Service: neither may contain a slash. */
export function serviceKeyOf(id: string): string {
  const end = id.indexOf('/', id.indexOf('/') + 1)
  return end < 0 ? id : id.slice(0, end)
}

/** Returns the namespace of a port state's Service. */
export function namespaceOf(id: string): string {
  return id.slice(0, id.indexOf('/'))
}

/** Returns the part of `portId` behind the Service: the port's label, and its family where that is the second. */
export function portPartOf(id: string): string {
  return id.split('/').slice(2).join('/')
}
