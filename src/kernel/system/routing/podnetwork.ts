/** How pods of this node are attached to it, as far as links and routes tell. */

import { hasPortRange } from '../../../services/settings/clientaddress.ts'
import { type Link, listLinks } from '../../netlink/route/links.ts'
import { listRoutes, type Route } from '../../netlink/route/routes.ts'
import { listRules, type Rule } from '../../netlink/route/rules.ts'
import { hasFilters } from '../../netlink/route/tc.ts'
import { withSocket } from '../../netlink/socket.ts'

export interface PodNetwork {
  /** Bridges with a veth. */
  readonly bridges: readonly string[]
  /** Interfaces with a host route: a pod each. */
  readonly routed: readonly string[]
  /** Signs that a data plane in eBPF runs, such as a tc filter on a pod's interface. */
  readonly programs: readonly string[]
  /** Routing rules that match the incoming interface: others hold for what the host sends in a pod's name. */
  readonly interfaceRules: readonly string[]
}

const families = ['IPv4', 'IPv6'] as const
const mainTable = 254

/** Throws SystemCallError, NetlinkError. */
export function readLinks(): readonly Link[] {
  return withSocket('route', {}, listLinks)
}

/** Throws SystemCallError, NetlinkError. */
export function readPodNetwork(): PodNetwork {
  return withSocket('route', {}, socket => {
    const links = listLinks(socket)
    const routes = families.flatMap(family => listRoutes(socket, family, mainTable))
    const rules = families.flatMap(family => listRules(socket, family))
    const network = podNetwork(links, routes, rules)
    const first = links.find(({ name }) => name === network.routed[0])
    // All pods of a node are attached alike.
    if (first === undefined || !hasFilters(socket, first.index)) return network
    return { ...network, programs: [...network.programs, `tc filter on ${first.name}`] }
  })
}

const dataPlanes = /^(cilium_|lxc|bpfin|bpfout)/

export function podNetwork(
  links: readonly Link[],
  routes: readonly Pick<Route, 'family' | 'destination' | 'length' | 'interfaceIndex' | 'hasGateway'>[],
  rules: readonly Pick<Rule, 'incoming' | 'text'>[] = [],
): PodNetwork {
  const veths = links.filter(({ name, kind }) => kind === 'veth' && !/^lightpath\d$/.test(name))
  const withRoute = new Set(routes.filter(isHostRoute).map(({ interfaceIndex }) => interfaceIndex))
  return {
    bridges: [...new Set(veths.flatMap(({ master }) => master ?? []))],
    routed: veths.filter(({ index, master }) => master === undefined && withRoute.has(index)).map(({ name }) => name),
    programs: links.map(({ name }) => name).filter(name => dataPlanes.test(name)),
    interfaceRules: rules.filter(({ incoming }) => incoming !== undefined && incoming !== 'lo').map(({ text }) => text),
  }
}

/** `10.244.1.10 dev cali1` is one, `10.244.2.0/24 via 172.30.0.12 dev eth0` is not. */
function isHostRoute({ family, destination, length, hasGateway }: Parameters<typeof podNetwork>[1][number]): boolean {
  const isHost = length === (family === 'IPv4' ? 32 : 128)
  return isHost && !hasGateway && !destination?.startsWith('fe80:')
}

/** Why a node with no pod cannot prove that the client's address works. */
export const noPod = 'there is no pod on this node so far, so nothing shows that pods are routed'

/**
 * Says what on this node keeps Envoy's connections from the client's address; undefined where nothing does.
 *
 * @param release of the kernel, such as 6.18.44
 */
export function findObstacle(
  release: string,
  { bridges, programs, routed, interfaceRules }: PodNetwork,
): string | undefined {
  if (!hasPortRange(release)) return `Linux ${release} has no IP_LOCAL_PORT_RANGE, 6.3 has`
  if (bridges.length > 0) return `pods are on a bridge (${bridges[0]}), where they answer each other directly`
  if (programs.length > 0) return `a data plane in eBPF may drop what the host sends for pods (${programs[0]})`
  if (interfaceRules.length > 0) {
    return `what pods send is routed by where it comes from, so the host's own would go elsewhere (${interfaceRules[0]})`
  }
  if (routed.length === 0) return noPod
  return undefined
}
