/**
 * Packets with the steering mark are delivered to this machine, whatever their address: to Envoy's transparent socket.
 *
 * The rule comes before those that others have for pods (AWS VPC CNI at 512, Cilium ENI at 20, VRFs at 1000), which would
 * route what is steered to where it came from. It matches what nobody else's packet is: our one bit, without the other
 * two that are ours; a program that sets the whole mark, such as wg-quick (0xca6c), has more than one of them.
 *
 * Rule and route are of protocol `kernel`, which systemd-networkd leaves alone where it removes what it does not know
 * (networkd.conf, ManageForeignRoutes and ManageForeignRoutingPolicyRules).
 */

import { CommandError, type CommandPrefix, runCommand } from './command.ts'
import type { Family } from './elements.ts'

export interface RoutingOptions {
  readonly steeringMark: number
  readonly envoyMark: number
  readonly masqueradeMark: number
  /** The number of the routing table that is ours alone. */
  readonly routeTable: number
  /** Of our rule; that of the kernel's own table `local` is 0. */
  readonly rulePriority: number
}

const ipFlag = { ip: '-4', ip6: '-6' } as const

interface OurRule {
  readonly priority: number
  /** As `ip rule` has it: `0x8000/0xd000`. */
  readonly mark: string
}

/** Of a line such as `5:	from all fwmark 0x8000/0xd000 lookup 1666`; undefined for a rule of others. */
export function parseOurRule(line: string, routeTable: number): OurRule | undefined {
  const match = new RegExp(`^(\\d+):\\s+from all fwmark (\\S+) lookup ${routeTable}(?: proto \\S+)?\\s*$`).exec(line)
  return match ? { priority: Number(match[1]), mark: match[2]! } : undefined
}

/** Idempotent; touches nothing where all is in place, and tells whether it had to. Rejects with a CommandError. */
export async function ensureRouting(
  family: Family,
  options: RoutingOptions,
  prefix: CommandPrefix = [],
): Promise<boolean> {
  const { routeTable, rulePriority } = options
  const ip = (...words: readonly string[]) => runCommand(['ip', ipFlag[family], ...words], { prefix })
  const mark = markOf(options)
  const found = await ourRules(family, routeTable, prefix)
  const isWanted = (rule: OurRule) => rule.priority === rulePriority && rule.mark === mark
  const isThere = found.some(isWanted)
  const hasRoute = await hasOurRoute(family, routeTable, prefix)
  const local = ['local', 'default', 'dev', 'lo', 'table', String(routeTable), 'protocol', 'kernel']
  if (!hasRoute) await ip('route', 'replace', ...local)
  if (!isThere) await ip('rule', 'add', ...selector({ priority: rulePriority, mark }, routeTable), 'protocol', 'kernel')
  for (const rule of found) if (!isWanted(rule)) await ip('rule', 'del', ...selector(rule, routeTable))
  return !isThere || !hasRoute
}

/** Removes the rules and the route that `ensureRouting` made; whether there were any. */
export async function removeRouting(
  family: Family,
  { routeTable }: Pick<RoutingOptions, 'routeTable'>,
  prefix: CommandPrefix = [],
): Promise<boolean> {
  const rules = await ourRules(family, routeTable, prefix)
  const ip = (...words: readonly string[]) => runCommand(['ip', ipFlag[family], ...words], { prefix })
  for (const rule of rules) await ip('rule', 'del', ...selector(rule, routeTable))
  if (rules.length > 0) await ip('route', 'flush', 'table', String(routeTable))
  return rules.length > 0
}

function markOf({ steeringMark, envoyMark, masqueradeMark }: RoutingOptions): string {
  return `0x${steeringMark.toString(16)}/0x${(steeringMark | envoyMark | masqueradeMark).toString(16)}`
}

function selector({ priority, mark }: OurRule, routeTable: number): readonly string[] {
  return ['priority', String(priority), 'fwmark', mark, 'lookup', String(routeTable)]
}

async function ourRules(family: Family, routeTable: number, prefix: CommandPrefix): Promise<readonly OurRule[]> {
  const rules: OurRule[] = []
  const onLine = (line: string) => {
    const rule = parseOurRule(line, routeTable)
    if (rule) rules.push(rule)
  }
  await runCommand(['ip', ipFlag[family], 'rule', 'show'], { prefix, onLine })
  return rules
}

async function hasOurRoute(family: Family, routeTable: number, prefix: CommandPrefix): Promise<boolean> {
  const routes: string[] = []
  try {
    const command = ['ip', ipFlag[family], 'route', 'show', 'table', String(routeTable)]
    await runCommand(command, { prefix, onLine: line => void routes.push(line) })
  } catch (error) {
    // A table that has never had a route is none.
    if (!(error instanceof CommandError) || error.failure !== 'refused') throw error
  }
  return routes.some(route => /^local default dev lo\b/.test(route))
}
