/**
 * Finds TCP connections to Service ports that began in the kernel layer and stay there, whatever layer new ones go to.
 */

import { deleteFlow, type Flow, listFlows } from '../../kernel/netlink/ctnetlink.ts'
import { NetlinkSocket } from '../../kernel/netlink/socket.ts'
import type { VipPort } from '../../kernel/overlay.ts'
import { familyOf, hostPort } from '../../net/address.ts'
import { redirectPortsOf } from '../../net/redirectports.ts'

export interface BelowOptions {
  readonly steeringMark: number
  /** To it and to the next one the node's own connections are redirected, without the mark. */
  readonly redirectPort: number
}

/** Whether Envoy has the connection. */
export function isRedirected(
  { mark, reply }: Pick<Flow, 'mark' | 'reply'>,
  { steeringMark, redirectPort }: BelowOptions,
): boolean {
  return (mark & steeringMark) !== 0 || redirectPortsOf(redirectPort).includes(reply.sourcePort)
}

/** Counts the open ones. Rejects as `listFlows`. */
export async function countBelow(frontends: readonly VipPort[], options: BelowOptions): Promise<number> {
  return withBelow(frontends, options, flows => flows.length)
}

/**
 * Ends them: conntrack forgets them, so that the next packet of either end is answered by a reset. Returns how many.
 * Rejects as `listFlows`.
 */
export async function endBelow(frontends: readonly VipPort[], options: BelowOptions): Promise<number> {
  return withBelow(frontends, options, (flows, socket) => flows.filter(flow => deleteFlow(socket, flow)).length)
}

async function withBelow<T>(
  frontends: readonly VipPort[],
  options: BelowOptions,
  work: (flows: readonly Flow[], socket: NetlinkSocket) => T,
): Promise<T> {
  using socket = new NetlinkSocket('netfilter')
  const wanted = new Set(frontends.map(({ ip, port }) => hostPort(ip, port)))
  const [first] = frontends
  // For one address the kernel selects; for several all flows are searched here.
  const original = first && frontends.length === 1 ? { destination: first.ip, destinationPort: first.port } : undefined
  const found: Flow[] = []
  for (const family of new Set(frontends.flatMap(({ ip }) => familyOf(ip) ?? []))) {
    const mark = { value: 0, mask: options.steeringMark }
    found.push(...(await listFlows(socket, { family, protocol: 'TCP', mark, ...(original && { original }) })))
  }
  const isBelow = ({ original, reply, isOpen, mark }: Flow) =>
    isOpen &&
    !isRedirected({ mark, reply }, options) &&
    reply.source !== original.destination &&
    wanted.has(hostPort(original.destination, original.destinationPort))
  return work(found.filter(isBelow), socket)
}
