/** Finds the replicas of a control plane, such as by the addresses that its names have. */

import { lookup } from 'node:dns/promises'
import { BlockList, isIPv6 } from 'node:net'
import { hostPort } from '../../../net/address.ts'
import type { KubeObject } from '../../../services/objects/objects.ts'

/** A host, by name or address, and a port. */
export interface HostPort {
  readonly host: string
  readonly port: number
}

const ownHost = new BlockList()
ownHost.addSubnet('127.0.0.0', 8, 'ipv4')
ownHost.addAddress('::1', 'ipv6')

/** Whether the address can be reached from this host alone. */
export function isLoopback(address: string): boolean {
  return ownHost.check(address, isIPv6(address) ? 'ipv6' : 'ipv4')
}

export interface Replica {
  /** Such as `10.244.1.7:9444`. */
  readonly address: string
  /** Whom its certificate has to name. */
  readonly host: string
  /** The node that it runs on, where that is known. */
  readonly node?: string
}

/** What an agent knows when it looks for replicas. */
export interface Known {
  readonly objects: Iterable<KubeObject>
  /** The objects are those that the API server has now. */
  readonly isCurrent: boolean
  /** None of the replicas that were found last serves the agent. */
  readonly hasFailed: boolean
}

/** Returns every replica in the order in which to ask them, so that agents spread over them. Rejects where it cannot. */
export type FindReplicas = (known: Known) => Promise<readonly Replica[]>

export function shuffled<T>(list: readonly T[]): readonly T[] {
  return list
    .map(one => ({ one, order: Math.random() }))
    .sort((a, b) => a.order - b.order)
    .map(({ one }) => one)
}

/**
 * Finds the addresses that these names have.
 * @param isSecure whether streams are by TLS
 * @throws Error where a name has no address, or without TLS one beyond this host
 */
export function hostAddresses(hosts: readonly HostPort[], isSecure: boolean): FindReplicas {
  return async () => {
    const found = new Map<string, Replica>()
    for (const { host, port } of hosts) {
      for (const { address: ip } of await lookup(host, { all: true })) {
        if (!isSecure && !isLoopback(ip)) {
          throw new Error(`${host} is ${ip}, beyond this host, which takes TLS (--control-plane-authority)`)
        }
        const address = hostPort(ip, port)
        found.set(address, { address, host })
      }
    }
    return shuffled([...found.values()])
  }
}
