/**
 * Which routing rules of others the pods of this node fall under. A CNI may have some for the one pod and others for
 * the next: AWS VPC CNI routes what pods on a secondary network card send by that card. What holds for one pod holds
 * for those under rules of the same kind, and for no others.
 */

import { familyOf, type IpFamily } from '../../../net/address.ts'
import { contains } from '../../../net/cidr.ts'
import { listRules, type Rule } from '../../netlink/route/rules.ts'
import { withSocket } from '../../netlink/socket.ts'
import { isPodRoute, routesTo } from './routes.ts'

/** As much as tells whose packets a rule is for. */
export type RoutingRule = Pick<Rule, 'source' | 'destination' | 'incoming' | 'rest'>

export interface RoutedPod {
  readonly address: string
  /** The node's end of its link. */
  readonly device: string
}

/**
 * Returns the rules that are for some pods and match this one, without what names it: equal for pods that are treated
 * alike.
 */
export function rulesFor({ address, device }: RoutedPod, rules: readonly RoutingRule[]): string {
  const texts = rules.flatMap(({ source, destination, incoming, rest }) => {
    const words = [
      holds(source, address) ? 'from' : '',
      holds(destination, address) ? 'to' : '',
      incoming === device ? 'iif' : '',
    ].filter(word => word !== '')
    return words.length === 0 ? [] : [`${words.join(' ')} ${rest}`]
  })
  return texts.join('; ')
}

/**
 * Finds one pod for each set of rules that pods of the family fall under, by that set. The first in order of `pods`
 * counts. Throws NetlinkError, SystemCallError.
 */
export function podsByRules(family: IpFamily, pods: readonly string[]): ReadonlyMap<string, RoutedPod> {
  const addresses = pods.filter(address => familyOf(address) === family)
  const found = new Map<string, RoutedPod>()
  if (addresses.length === 0) return found
  const rules = withSocket('route', {}, socket => listRules(socket, family))
  const routes = routesTo(addresses)
  for (const address of addresses) {
    const route = routes.get(address)
    if (!isPodRoute(route)) continue
    const pod = { address, device: route!.device }
    const under = rulesFor(pod, rules)
    if (!found.has(under)) found.set(under, pod)
  }
  return found
}

function holds(range: string | undefined, address: string): boolean {
  return range !== undefined && familyOf(range.split('/')[0]!) === familyOf(address) && contains(range, address)
}
