/** Counts connections of this node's clients to Services, from the kernel's connection tracking. */

import { mapFlows } from '../kernel/netlink/ctnetlink.ts'
import { NetlinkSocket } from '../kernel/netlink/socket.ts'
import { hostPort, type IpFamily } from '../net/address.ts'
import type { FrontendRow } from '../node/report/answers/frontends.ts'
import { type BelowOptions, isRedirected } from '../node/use/below.ts'
import { portKey } from './portkey.ts'

export interface PortConnections {
  /** Open ones. */
  readonly open: number
  /** Of those the ones that the kernel pins to one endpoint, by `address:port` of that endpoint. */
  readonly pinned: ReadonlyMap<string, number>
}

export const noConnections: PortConnections = { open: 0, pinned: new Map() }

/**
 * TCP connections by Service port (`namespace/service/port`).
 */
export async function readConnections(
  frontends: readonly FrontendRow[],
  families: readonly IpFamily[],
  options: BelowOptions,
): Promise<ReadonlyMap<string, PortConnections>> {
  const find = finderOf(frontends)
  const found = new Map<string, { open: number; pinned: Map<string, number> }>()
  using socket = new NetlinkSocket('netfilter')
  for (const family of families) {
    await mapFlows(socket, { family, protocol: 'TCP' }, ({ original, reply, mark, isOpen }) => {
      if (!isOpen) return
      const isEnvoys = isRedirected({ mark, reply }, options)
      // A flow that is not translated, such as to a port of the node itself, is no Service's.
      if (!isEnvoys && reply.source === original.destination) return
      const key = find(original.destination, original.destinationPort)
      if (key === undefined) return
      const port = found.get(key) ?? { open: 0, pinned: new Map() }
      found.set(key, port)
      port.open++
      const endpoint = hostPort(reply.source, reply.sourcePort)
      if (!isEnvoys) port.pinned.set(endpoint, (port.pinned.get(endpoint) ?? 0) + 1)
    })
  }
  return found
}

function finderOf(frontends: readonly FrontendRow[]) {
  const byAddress = new Map<string, string>()
  const byNodePort = new Map<number, string>()
  for (const frontend of frontends) {
    const { protocol, number, addresses, nodePort } = frontend
    if (protocol !== 'TCP') continue
    const key = portKey(frontend)
    for (const address of addresses) byAddress.set(hostPort(address, number), key)
    if (nodePort !== undefined) byNodePort.set(nodePort, key)
  }
  return (address: string, port: number) => byAddress.get(hostPort(address, port)) ?? byNodePort.get(port)
}
