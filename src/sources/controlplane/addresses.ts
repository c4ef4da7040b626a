/** Finds the replicas of a control plane: the addresses that its names have. */

import { lookup } from 'node:dns/promises'
import { BlockList, isIPv6 } from 'node:net'
import { hostPort } from '../../net/address.ts'

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
}

/**
 * Returns every replica, in random order, so that agents spread over them.
 * @param isSecure whether streams are by TLS
 * @throws Error where a name has no address, or without TLS one beyond this host
 */
export async function replicasOf(controlPlanes: readonly HostPort[], isSecure: boolean): Promise<readonly Replica[]> {
  const found = new Map<string, Replica>()
  for (const { host, port } of controlPlanes) {
    for (const { address: ip } of await lookup(host, { all: true })) {
      if (!isSecure && !isLoopback(ip)) {
        throw new Error(`${host} is ${ip}, beyond this host, which takes TLS (--control-plane-authority)`)
      }
      const address = hostPort(ip, port)
      found.set(address, { address, host })
    }
  }
  return [...found.values()]
    .map(replica => ({ replica, order: Math.random() }))
    .sort((one, other) => one.order - other.order)
    .map(({ replica }) => replica)
}
