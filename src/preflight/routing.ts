/** Routing rules and tables that others have. */

import { parseOurRule } from '../kernel/routing.ts'
import { type Check, fails, ok, someOf, warning } from './check.ts'
import { outputOf } from './output.ts'

export interface RoutingMarks {
  readonly steeringMark: number
  readonly envoyMark: number
  readonly routeTable: number
  readonly rulePriority: number
}

export async function checkRouting(options: RoutingMarks): Promise<readonly Check[]> {
  const { routeTable } = options
  const rules = (await Promise.all(['-4', '-6'].map(flag => outputOf('ip', flag, 'rule', 'show')))).flatMap(
    lines => lines ?? [],
  )
  const routes = (
    await Promise.all(['-4', '-6'].map(flag => outputOf('ip', flag, 'route', 'show', 'table', String(routeTable))))
  ).flatMap(lines => lines ?? [])
  return [checkRules(rules, options), checkTable(rules, routes, routeTable), checkOrder(rules, options)]
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
    ...foreign(rules, routeTable).filter(rule => new RegExp(`lookup ${routeTable}\\b`).test(rule)),
    ...routes.filter(route => route.trim() !== '' && !/^local default dev lo\b/.test(route)),
  ]
  if (users.length === 0) return ok(name, 'free')
  return fails(name, `in use: ${someOf(users.map(oneLine))}`, 'choose another: --route-table')
}

/** A rule before ours routes what is steered to Envoy by what it says, where its selector matches. */
export function checkOrder(
  rules: readonly string[],
  { routeTable, rulePriority }: Pick<RoutingMarks, 'routeTable' | 'rulePriority'>,
): Check {
  const name = 'order of routing rules'
  const before = foreign(rules, routeTable).filter(rule => {
    return Number(/^(\d+):/.exec(rule)?.[1]) < rulePriority && !/\blookup local\b/.test(rule)
  })
  if (before.length === 0) return ok(name, `none of others before ours (${rulePriority})`)
  const remedy = 'what they match never comes to Envoy: give ours a lower number, --rule-priority'
  return warning(name, `before ours (${rulePriority}): ${someOf(before.map(oneLine))}`, remedy)
}

/** Without the rule that the agent makes. */
function foreign(rules: readonly string[], routeTable: number): readonly string[] {
  return rules.filter(rule => parseOurRule(rule, routeTable) === undefined)
}

function oneLine(text: string): string {
  return text.trim().replaceAll(/\s+/g, ' ')
}
