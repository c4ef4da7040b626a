/** Routing rules and tables that others have. */

import { type Check, fails, ok, someOf } from './check.ts'
import { outputOf } from './output.ts'

export interface RoutingMarks {
  readonly steeringMark: number
  readonly envoyMark: number
  readonly routeTable: number
}

export async function checkRouting(options: RoutingMarks): Promise<readonly Check[]> {
  const { routeTable } = options
  const rules = (await Promise.all(['-4', '-6'].map(flag => outputOf('ip', flag, 'rule', 'show')))).flatMap(
    lines => lines ?? [],
  )
  const routes = (
    await Promise.all(['-4', '-6'].map(flag => outputOf('ip', flag, 'route', 'show', 'table', String(routeTable))))
  ).flatMap(lines => lines ?? [])
  return [checkRules(rules, options), checkTable(rules, routes, routeTable)]
}

/** `32765:	from all fwmark 0x200/0xf00 lookup 2004` */
export function checkRules(rules: readonly string[], { steeringMark, envoyMark, routeTable }: RoutingMarks): Check {
  const bits = steeringMark | envoyMark
  const colliding = foreign(rules, routeTable).filter(
    rule => (Number(/fwmark (0x[0-9a-f]+)/.exec(rule)?.[1] ?? 0) & bits) !== 0,
  )
  if (colliding.length === 0) return ok('marks in routing rules', 'nobody else uses ours')
  const remedy = 'choose other bits: --steering-mark, --envoy-mark'
  return fails('marks in routing rules', someOf(colliding.map(oneLine)), remedy)
}

export function checkTable(rules: readonly string[], routes: readonly string[], routeTable: number): Check {
  const name = `routing table ${routeTable}`
  const users = [
    ...foreign(rules, routeTable).filter(rule => new RegExp(`^${routeTable}:|lookup ${routeTable}\\b`).test(rule)),
    ...routes.filter(route => route.trim() !== '' && !/^local default dev lo\b/.test(route)),
  ]
  if (users.length === 0) return ok(name, 'free')
  return fails(name, `in use: ${someOf(users.map(oneLine))}`, 'choose another: --route-table')
}

/** Without the rule that the agent makes. */
function foreign(rules: readonly string[], routeTable: number): readonly string[] {
  return rules.filter(rule => !new RegExp(`^${routeTable}:\\s+from all fwmark \\S+ lookup ${routeTable}\\b`).test(rule))
}

function oneLine(text: string): string {
  return text.trim().replaceAll(/\s+/g, ' ')
}
