/**
 * The frontends of a Service port on a node, and what becomes of connections to each: the plain form in which verify
 * compares proxies whose rules look nothing like each other.
 */

import type { IpFamily, Protocol } from '../net/address.ts'

/** The address is undefined for a node port, which is on every address that the node opens node ports on. */
export interface Destination {
  readonly family: IpFamily
  readonly address: string | undefined
  readonly protocol: Protocol
  readonly port: number
}

/**
 * The kinds of clients that are treated differently: pods of the cluster, the node's own processes, and everybody else.
 */
export type Client = 'external' | 'pods' | 'node'

export interface Frontend {
  readonly destination: Destination
  /** `namespace/name`; '' where the rules do not say it. */
  readonly service: string
  /** The name of the Service port, or its number where it has none. */
  readonly port: string
  /** For each kind of client, `address:port` in order; may be empty. */
  readonly endpoints: Readonly<Record<Client, readonly string[]>>
  /** The fate of clients for whom there is no endpoint. */
  readonly otherwise: 'reject' | 'drop' | undefined
  /** For how many seconds a client stays with its endpoint; undefined where it does not. */
  readonly affinitySeconds: number | undefined
  /** The clients whose source address is replaced by the node's, whatever the endpoint. */
  readonly masquerade: 'everybody' | 'node' | 'nobody'
  /** Endpoints that are masqueraded to when they are their own client. */
  readonly hairpin: readonly string[]
  /** Addresses that are admitted; undefined where all are. By `mergeRanges`. */
  readonly sources: readonly string[] | undefined
  /**
   * The address counts as a cluster IP: clients from outside of the cluster are masqueraded, and its other ports are
   * refused. Undefined where the rules do not say it.
   */
  readonly isClusterIP: boolean | undefined
  /** What was found there and has no field in this form. */
  readonly oddities: readonly string[]
}

/** Frontends by `keyOfPlace`. */
export type Frontends = ReadonlyMap<string, Frontend>

/** `10.96.0.10:80/TCP`, `node port 30080/TCP` or `node port 30080/TCP (IPv6)` */
export function keyOfDestination({ family, address, protocol, port }: Destination): string {
  if (address === undefined) return `node port ${port}/${protocol}${family === 'IPv6' ? ' (IPv6)' : ''}`
  return `${family === 'IPv6' ? `[${address}]` : address}:${port}/${protocol}`
}
