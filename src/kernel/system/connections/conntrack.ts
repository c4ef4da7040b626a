/**
 * A UDP "connection" lives as long as packets come, so its conntrack entry outlives the endpoint that it goes to: a
 * client with a fixed port, such as a resolver, would talk to nobody. Entries that lead to an endpoint which no longer
 * answers are removed; then the next packet goes to another. TCP and SCTP end by themselves.
 *
 * The rules are kube-proxy's (pkg/proxy/conntrack): what still answers keeps its clients, whatever traffic policy,
 * topology, or termination say of new ones, and so does a Service that is gone.
 */

import { familyOf, type IpFamily } from '../../../net/address.ts'
import type { PortState } from '../../../plan/ports/port.ts'
import { deleteFlow, type Flow, listFlows } from '../../netlink/ctnetlink.ts'
import { NetlinkSocket } from '../../netlink/socket.ts'

/**
 * Frontends of UDP ports, as `10.0.0.1 53`, or `IPv4 30053` for a node port, with the endpoints that answer, as
 * `10.1.0.1 5353`.
 */
export type UdpFrontends = Map<string, ReadonlySet<string>>

/**
 * Returns the frontends of a port whose entries may have gone stale since it was `before`: an endpoint no longer
 * answers, or there was none to choose, or the frontend is new. `before` is undefined where it is not known.
 */
export function staleFrontends(before: PortState | undefined, after: PortState): UdpFrontends {
  if (after.port.protocol !== 'UDP') return new Map()
  const servingEndpoints = new Set(after.servingEndpoints.map(({ ip, port }) => `${ip} ${port}`))
  const known = new Set(before && isChosen(before) ? frontendsOf(before) : [])
  const isLess = before?.servingEndpoints.some(({ ip, port }) => !servingEndpoints.has(`${ip} ${port}`))
  const stale = frontendsOf(after).filter(frontend => isLess || !known.has(frontend))
  return new Map(stale.map(frontend => [frontend, servingEndpoints]))
}

/** Whether every frontend of the port has endpoints. */
function isChosen({ endpoints, external }: PortState): boolean {
  return endpoints.length > 0 && external?.endpoints.length !== 0
}

function frontendsOf({ vip, port, family, external }: PortState): readonly string[] {
  const ips = [vip, ...(external?.externalIPs ?? []), ...(external?.loadBalancerIPs ?? [])]
  const nodePort = external?.nodePort === undefined ? [] : [`${family} ${external.nodePort}`]
  return [...ips.map(ip => `${ip} ${port.port}`), ...nodePort]
}

/** The result of searching one family's entries. */
export interface Reconciliation {
  readonly family: IpFamily
  readonly removed: number
  readonly milliseconds: number
}

/**
 * Removes stale entries. `netns` is the network namespace's path where it is not this process's own. Rejects as
 * `listFlows`.
 */
export async function removeStaleUdp(frontends: UdpFrontends, netns?: string): Promise<readonly Reconciliation[]> {
  const socket = new NetlinkSocket('netfilter', { netns })
  try {
    const done: Reconciliation[] = []
    for (const family of new Set([...frontends.keys()].map(frontendFamily))) {
      const began = performance.now()
      const flows = await listFlows(socket, { family, protocol: 'UDP' })
      const stale = flows.filter(flow => isStale(flow, frontends))
      const removed = stale.filter(flow => deleteFlow(socket, flow)).length
      done.push({ family, removed, milliseconds: performance.now() - began })
    }
    return done
  } finally {
    socket.close()
  }
}

function frontendFamily(frontend: string): IpFamily {
  const [address] = frontend.split(' ') as [string]
  return familyOf(address) ?? (address as IpFamily)
}

/** Flows to a node port's number on other machines are none of ours: they are not translated, and are answered. */
function isStale({ family, original, reply, isReplied }: Flow, frontends: UdpFrontends): boolean {
  const leadsNowhere = (servingEndpoints: ReadonlySet<string> | undefined) =>
    servingEndpoints !== undefined && !servingEndpoints.has(`${reply.source} ${reply.sourcePort}`)
  if (leadsNowhere(frontends.get(`${original.destination} ${original.destinationPort}`))) return true
  const isForeign = reply.source === original.destination && isReplied
  return !isForeign && leadsNowhere(frontends.get(`${family} ${original.destinationPort}`))
}
