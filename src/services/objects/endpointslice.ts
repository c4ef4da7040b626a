/** An EndpointSlice (discovery.k8s.io/v1), cut to what a proxy on a node uses. */

import type { IpFamily, Protocol } from '../../net/address.ts'

export interface SliceEndpoint {
  /** The first address of the endpoint; the API says that consumers use no other. Canonical text. */
  readonly ip: string
  /** One object for all endpoints with these: there may be 100,000 endpoints, and of a node most have the same. */
  readonly traits: EndpointTraits
}

export interface EndpointTraits {
  /** KEP-1672, and the API for defaults: `ready` and `serving` unset mean true, `terminating` unset means false. */
  readonly ready: boolean
  readonly serving: boolean
  readonly terminating: boolean
  readonly nodeName?: string
  readonly zone?: string
  /** Its target reference names a Pod of the slice's own namespace. Whoever may write the slice may write that. */
  readonly isPod: boolean
  /** KEP-2433 and KEP-3015: the zones and nodes whose traffic this endpoint is meant for; absent means no hint. */
  readonly forZones?: readonly string[]
  readonly forNodes?: readonly string[]
}

export interface SlicePort {
  readonly name: string
  readonly protocol: Protocol
  /** The port on the endpoint. Named target ports are resolved by Kubernetes, one slice per number. */
  readonly port: number
}

export interface EndpointSlice {
  readonly kind: 'EndpointSlice'
  readonly namespace: string
  readonly name: string
  /** The label kubernetes.io/service-name. */
  readonly service: string
  readonly family: IpFamily
  readonly ports: readonly SlicePort[]
  readonly endpoints: readonly SliceEndpoint[]
  /** The annotation endpoints.kubernetes.io/last-change-trigger-time in milliseconds, where set. */
  readonly triggered?: number
}

/** The addresses of its endpoints. */
export function ipsOf({ endpoints }: EndpointSlice): readonly string[] {
  return endpoints.map(({ ip }) => ip)
}
