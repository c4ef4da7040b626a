/** Packets with the steering mark are delivered to this machine, whatever their address: to Envoy's transparent socket. */

import { type CommandPrefix, runCommand } from './command.ts'
import type { Family } from './elements.ts'

export interface RoutingOptions {
  readonly steeringMark: number
  /** The number of the routing table that is ours alone; also the priority of the rule. */
  readonly routeTable: number
}

const ipFlag = { ip: '-4', ip6: '-6' } as const

/** `ip -4 rule show` prints `1666:	from all fwmark 0x8000/0x8000 lookup 1666`. */
function isOurRule(line: string, { routeTable }: RoutingOptions): boolean {
  return line.startsWith(`${routeTable}:`) && new RegExp(`\\bfwmark \\S+ lookup ${routeTable}\\b`).test(line)
}

/** Idempotent; touches nothing where all is in place. */
export async function ensureRouting(
  family: Family,
  options: RoutingOptions,
  prefix: CommandPrefix = [],
): Promise<void> {
  const ip = ['ip', ipFlag[family]]
  const { routeTable } = options
  const mark = `0x${options.steeringMark.toString(16)}`
  const rules = await ourRules(family, options, prefix)
  const wanted = rules.filter(line => line.includes(`fwmark ${mark}/${mark} `))
  if (wanted.length === 0) {
    const selector = ['fwmark', `${mark}/${mark}`, 'lookup', String(routeTable)]
    await runCommand([...ip, 'rule', 'add', 'priority', String(routeTable), ...selector], { prefix })
  }
  for (const line of rules.filter(rule => !wanted.includes(rule))) await removeRule(family, line, options, prefix)
  const local = ['local', 'default', 'dev', 'lo', 'table', String(routeTable)]
  await runCommand([...ip, 'route', 'replace', ...local], { prefix })
}

/** Removes the rules and the route that `ensureRouting` made; whether there were any. */
export async function removeRouting(
  family: Family,
  options: Pick<RoutingOptions, 'routeTable'>,
  prefix: CommandPrefix = [],
): Promise<boolean> {
  const rules = await ourRules(family, { steeringMark: 0, ...options }, prefix)
  for (const line of rules) await removeRule(family, line, { steeringMark: 0, ...options }, prefix)
  if (rules.length > 0) {
    await runCommand(['ip', ipFlag[family], 'route', 'flush', 'table', String(options.routeTable)], { prefix })
  }
  return rules.length > 0
}

async function ourRules(family: Family, options: RoutingOptions, prefix: CommandPrefix): Promise<readonly string[]> {
  const rules: string[] = []
  await runCommand(['ip', ipFlag[family], 'rule', 'show'], { prefix, onLine: line => void rules.push(line) })
  return rules.filter(line => isOurRule(line, options))
}

async function removeRule(family: Family, line: string, { routeTable }: RoutingOptions, prefix: CommandPrefix) {
  const mark = /fwmark (\S+)/.exec(line)![1]!
  const rule = ['priority', String(routeTable), 'fwmark', mark, 'lookup', String(routeTable)]
  await runCommand(['ip', ipFlag[family], 'rule', 'del', ...rule], { prefix })
}
