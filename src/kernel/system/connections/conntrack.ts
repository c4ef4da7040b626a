/**
 * An entry of conntrack keeps a flow with the endpoint that was chosen at its first packet, whatever becomes of that. Here
 * entries are removed so that the next packet goes to another endpoint:
 *
 * - UDP flows, which last as long as packets come, to an endpoint that no longer answers: a client with a fixed port,
 *   such as a resolver, would talk to nobody. The rules are kube-proxy's (pkg/proxy/conntrack): what still answers keeps
 *   its clients, whatever traffic policy, topology, or termination say of new ones, and so does a Service that is gone.
 * - Connections of TCP and SCTP that have begun to an endpoint that is left out since many nodes cannot reach it, and that
 *   nobody has answered: clients repeat their first packet for two minutes, and all would go there. Others end by
 *   themselves.
 */

import { familyOf, type IpFamily, type Protocol } from '../../../net/address.ts'
import type { Endpoint, PortState } from '../../../plan/ports/port.ts'
import { isTurnOver, nextTurn } from '../../../worker/turns.ts'
import { deleteFlow, type Flow, type FlowFilter, mapFlows } from '../../netlink/ctnetlink.ts'
import { NetlinkSocket } from '../../netlink/socket.ts'

/** Which flows of a frontend are stale, by endpoints as `10.1.0.1 5353`. */
export type Stale =
  | { readonly allBut: ReadonlySet<string> }
  /** Flows to these that were never answered. */
  | { readonly unansweredBy: ReadonlySet<string> }

/** By frontend, as `UDP 10.0.0.1 53`, or `UDP IPv4 30053` for a node port. */
export type StaleFrontends = Map<string, Stale>

/**
 * Returns the frontends of a port whose entries may have gone stale since it was `before`, which is undefined where it is
 * not known.
 */
export function staleFrontends(before: PortState | undefined, after: PortState): StaleFrontends {
  return after.port.protocol === 'UDP' ? staleUdp(before, after) : staleBegun(before, after)
}

/** An endpoint no longer answers, or there was none to choose, or the frontend is new. */
function staleUdp(before: PortState | undefined, after: PortState): StaleFrontends {
  const allBut = setOf(after.servingEndpoints)
  const known = new Set(before && isChosen(before) ? frontendsOf(before) : [])
  const isLess = !isSubset(setOf(before?.servingEndpoints), allBut)
  return new Map(
    frontendsOf(after)
      .filter(frontend => isLess || !known.has(frontend))
      .map(frontend => [frontend, { allBut }]),
  )
}

function staleBegun(before: PortState | undefined, after: PortState): StaleFrontends {
  const unansweredBy = setOf(after.leftOut)
  if (isSubset(unansweredBy, setOf(before?.leftOut))) return new Map()
  return new Map(frontendsOf(after).map(frontend => [frontend, { unansweredBy }]))
}

function setOf(endpoints: readonly Endpoint[] = []): ReadonlySet<string> {
  return new Set(endpoints.map(({ ip, port }) => `${ip} ${port}`))
}

function isSubset(some: ReadonlySet<string>, all: ReadonlySet<string>): boolean {
  return [...some].every(one => all.has(one))
}

/** Whether every frontend of the port has endpoints. */
function isChosen({ endpoints, external }: PortState): boolean {
  return endpoints.length > 0 && external?.endpoints.length !== 0
}

function frontendsOf({ vip, port, family, external }: PortState): readonly string[] {
  const ips = [vip, ...(external?.externalIPs ?? []), ...(external?.loadBalancerIPs ?? [])]
  const nodePort = external?.nodePort === undefined ? [] : [`${family} ${external.nodePort}`]
  return [...ips.map(ip => `${ip} ${port.port}`), ...nodePort].map(frontend => `${port.protocol} ${frontend}`)
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
export async function removeStaleFlows(frontends: StaleFrontends, netns?: string): Promise<readonly Reconciliation[]> {
  using socket = new NetlinkSocket('netfilter', { netns })
  const done: Reconciliation[] = []
  for (const filter of searchesFor(frontends)) {
    const began = performance.now()
    const stale = await mapFlows(socket, filter, flow => (isStale(flow, frontends) ? flow : undefined))
    let removed = 0
    for (const flow of stale) {
      if (deleteFlow(socket, flow)) removed++
      if (isTurnOver()) await nextTurn()
    }
    done.push({ family: filter.family, removed, milliseconds: performance.now() - began })
  }
  return done
}

/** One for each family and protocol: each search passes all entries, however few it finds. */
function searchesFor(frontends: StaleFrontends): readonly (FlowFilter & { readonly family: IpFamily })[] {
  const searches = new Map<string, FlowFilter & { readonly family: IpFamily }>()
  for (const frontend of frontends.keys()) {
    const [protocol, address] = frontend.split(' ') as [Protocol, string]
    const family = familyOf(address) ?? (address as IpFamily)
    const filter = { family, protocol }
    searches.set(`${family} ${protocol}`, protocol === 'UDP' ? filter : { ...filter, isReplied: false })
  }
  return [...searches.values()]
}

/** Flows to a node port's number on other machines are none of ours: they are not translated, and are answered. */
function isStale(flow: Flow, frontends: StaleFrontends): boolean {
  const { family, protocol, original, reply, isReplied } = flow
  const isStaleOf = (frontend: string) => {
    const stale = frontends.get(`${protocol} ${frontend}`)
    if (!stale) return false
    const endpoint = `${reply.source} ${reply.sourcePort}`
    return 'allBut' in stale ? !stale.allBut.has(endpoint) : !isReplied && stale.unansweredBy.has(endpoint)
  }
  if (isStaleOf(`${original.destination} ${original.destinationPort}`)) return true
  const isForeign = reply.source === original.destination && isReplied
  return !isForeign && isStaleOf(`${family} ${original.destinationPort}`)
}
