/**
 * Packets with the steering mark are delivered to this machine, whatever their address: to Envoy's transparent socket.
 *
 * The rule comes before those that others have for pods (AWS VPC CNI at 512, Cilium ENI at 20, VRFs at 1000), which
 * would route what is redirected to where it came from. It matches what nobody else's packet is: our one bit, without
 * the other two that are ours; a program that sets the whole mark, such as wg-quick (0xca6c), has more than one of
 * them.
 *
 * Rule and route are of protocol `kernel`, which systemd-networkd leaves alone where it removes what it does not know
 * (networkd.conf, ManageForeignRoutes and ManageForeignRoutingPolicyRules).
 */

import type { IpFamily } from '../../../net/address.ts'
import type { Family } from '../../family.ts'
import { deleteRoute, listRoutes, type Route, replaceRoute } from '../../netlink/route/routes.ts'
import { addRule, deleteRule, listRules, type Rule, type RuleKey } from '../../netlink/route/rules.ts'
import { type NetlinkSocket, withSocket } from '../../netlink/socket.ts'

export interface RoutingOptions {
  readonly steeringMark: number
  readonly envoyMark: number
  readonly masqueradeMark: number
  /** The number of the routing table that is ours alone. */
  readonly routeTable: number
  /** Of our rule; that of the kernel's own table `local` is 0. */
  readonly rulePriority: number
}

const ipFamilies = { ip: 'IPv4', ip6: 'IPv6' } as const
/** The loopback interface is the first of each network namespace. */
const loopback = 1

/** Whether the rule is one that this agent, or one of another version or with other options, made for the table. */
export function isOurRule({ table, mark, isByMarkAlone }: Rule, routeTable: number): boolean {
  return table === routeTable && mark !== undefined && isByMarkAlone
}

/** Whether the route is the one of our table. */
export function isOurRoute({ type, length, interfaceIndex }: Route): boolean {
  return type === 'local' && length === 0 && interfaceIndex === loopback
}

/**
 * Makes the rule and the route where they are missing, and returns whether they were. `netns` is the network
 * namespace's path where it is not this process's own. Throws NetlinkError, SystemCallError.
 */
export function ensureRouting(name: Family, options: RoutingOptions, netns?: string): boolean {
  const { routeTable: table, rulePriority: priority } = options
  const wanted: RuleKey = { family: ipFamilies[name], priority, table, mark: markOf(options) }
  const { family } = wanted
  return withSocket('route', { netns }, socket => {
    const found = ourRules(socket, family, table)
    const isThere = found.some(rule => isSame(rule, wanted))
    const hasRoute = listRoutes(socket, family, table).some(isOurRoute)
    if (!hasRoute) replaceRoute(socket, { family, table, type: 'local', interfaceIndex: loopback, isOfKernel: true })
    if (!isThere) addRule(socket, wanted)
    for (const rule of found) if (!isSame(rule, wanted)) deleteRule(socket, rule)
    return !isThere || !hasRoute
  })
}

/** Removes the rules and the route that `ensureRouting` made; returns whether there were any rules. */
export function removeRouting(
  name: Family,
  { routeTable }: Pick<RoutingOptions, 'routeTable'>,
  netns?: string,
): boolean {
  const family = ipFamilies[name]
  return withSocket('route', { netns }, socket => {
    const rules = ourRules(socket, family, routeTable)
    for (const rule of rules) deleteRule(socket, rule)
    if (rules.length === 0) return false
    for (const route of listRoutes(socket, family, routeTable)) deleteRoute(socket, route)
    return true
  })
}

function markOf({ steeringMark, envoyMark, masqueradeMark }: RoutingOptions): RuleKey['mark'] {
  return { value: steeringMark, mask: (steeringMark | envoyMark | masqueradeMark) >>> 0 }
}

function isSame(one: RuleKey, other: RuleKey): boolean {
  return one.priority === other.priority && one.mark.value === other.mark.value && one.mark.mask === other.mark.mask
}

function ourRules(socket: NetlinkSocket, family: IpFamily, routeTable: number): readonly RuleKey[] {
  return listRules(socket, family).flatMap(rule => {
    const { priority, table, mark } = rule
    return mark && isOurRule(rule, routeTable) ? [{ family, priority, table, mark }] : []
  })
}
