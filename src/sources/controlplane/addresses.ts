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

/**
 * Returns `address:port` of every replica, in random order, so that agents spread over them.
 * @throws Error where a name has no address, or one beyond this host: streams are not encrypted
 */
export async function replicasOf(controlPlanes: readonly HostPort[]): Promise<readonly string[]> {
  const found = new Set<string>()
  for (const { host, port } of controlPlanes) {
    for (const { address } of await lookup(host, { all: true })) {
      if (!isLoopback(address)) throw new Error(`${host} is ${address}; only control planes of the same host are asked`)
      found.add(hostPort(address, port))
    }
  }
  return [...found]
    .map(replica => ({ replica, order: Math.random() }))
    .sort((one, other) => one.order - other.order)
    .map(({ replica }) => replica)
}
