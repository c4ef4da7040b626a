/** One port of a Service as this node is to serve it: what the Envoy and kernel layers are made from. */

import type { IpFamily } from './address.ts'
import type { ServicePort } from './service.ts'
import type { Settings } from './settings.ts'

/** An endpoint that this node may send connections of a Service port to. */
export interface Endpoint {
  readonly ip: string
  readonly port: number
  readonly nodeName?: string
  readonly zone?: string
}

/** Which layer a Service port is meant for, and why in words for a user. */
export type Layer =
  | { readonly wants: 'envoy'; readonly protocol: EnvoyProtocol; readonly reason: string }
  | { readonly wants: 'kernel'; readonly reason: string }

export type EnvoyProtocol = 'http' | 'tcp'

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
  /** There are endpoints, but none that this node may use (traffic policy Local): drop, where none at all means reject. */
  readonly onlyElsewhere: boolean
}

/** The name of a port in ids and annotations: its name, or its number where it has none. */
export function portLabel(port: ServicePort): string {
  return port.name === '' ? String(port.port) : port.name
}

/** @param second the family's name for the second family of a dual-stack Service */
export function portId(namespace: string, name: string, port: ServicePort, second?: IpFamily): string {
  const id = `${namespace}/${name}/${portLabel(port)}`
  return second === undefined ? id : `${id}/${second}`
}
