/**
 * Which routing rules of others the pods of this node fall under. A CNI may have some for the one pod and others for the
 * next: AWS VPC CNI routes what pods on a secondary network card send by that card. What holds for one pod holds for
 * those under rules of the same kind, and for no others.
 */

import { familyOf, type IpFamily } from '../services/address.ts'
import { contains } from '../services/cidr.ts'
import { type CommandPrefix, runCommand } from './command.ts'
import { isPodRoute, routesTo } from './routes.ts'

/** Of `ip -json rule`: as much as tells whose packets a rule is for. `src` and `dst` may be `all`. */
export interface RoutingRule {
  readonly priority: number
  readonly src: string
  readonly srclen?: number
  readonly dst?: string
  readonly dstlen?: number
  /** The interface that packets come in by. */
  readonly iif?: string
}

export interface RoutedPod {
  readonly address: string
  /** The node's end of its link. */
  readonly device: string
}

/** Rejects with a CommandError. */
async function readRules(family: IpFamily, prefix: CommandPrefix = []): Promise<readonly RoutingRule[]> {
  const lines: string[] = []
  const command = ['ip', family === 'IPv4' ? '-4' : '-6', '-json', 'rule', 'show']
  await runCommand(command, { prefix, onLine: line => void lines.push(line) })
  return JSON.parse(lines.join('\n') || '[]') as readonly RoutingRule[]
}

/** The rules that are for some pods and match this one, without what names it: equal for pods that are treated alike. */
export function rulesFor({ address, device }: RoutedPod, rules: readonly RoutingRule[]): string {
  const texts = rules.flatMap(rule => {
    const { src, srclen, dst = 'all', dstlen, iif, ...rest } = rule
    const isFrom = src !== 'all' && holds(src, srclen, address)
    const isTo = dst !== 'all' && holds(dst, dstlen, address)
    const isIn = iif === device
    const words = [isFrom ? 'from' : '', isTo ? 'to' : '', isIn ? 'iif' : ''].filter(word => word !== '')
    return words.length === 0 ? [] : [`${words.join(' ')} ${JSON.stringify(rest)}`]
  })
  return texts.join('; ')
}

/** One pod for each set of rules that pods of the family fall under, by that set. The first in order of `pods` counts. */
export async function podsByRules(
  family: IpFamily,
  pods: readonly string[],
  prefix: CommandPrefix = [],
): Promise<ReadonlyMap<string, RoutedPod>> {
  const addresses = pods.filter(address => familyOf(address) === family)
  const found = new Map<string, RoutedPod>()
  if (addresses.length === 0) return found
  const [rules, routes] = await Promise.all([readRules(family, prefix), routesTo(addresses, prefix)])
  for (const address of addresses) {
    const route = routes.get(address)
    if (!isPodRoute(route)) continue
    const pod = { address, device: route!.device }
    const under = rulesFor(pod, rules)
    if (!found.has(under)) found.set(under, pod)
  }
  return found
}

function holds(range: string, length: number | undefined, address: string): boolean {
  if (familyOf(range) !== familyOf(address)) return false
  return length === undefined ? range === address : contains(`${range}/${length}`, address)
}
