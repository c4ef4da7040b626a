/** Checks routing rules and tables that others have. */

import { listLinks } from '../kernel/netlink/route/links.ts'
import { listRoutes, type Route, routeText } from '../kernel/netlink/route/routes.ts'
import { listRules, type Rule } from '../kernel/netlink/route/rules.ts'
import { withSocket } from '../kernel/netlink/socket.ts'
import { isOurRoute, isOurRule } from '../kernel/system/routing/steering.ts'
import { someOf } from '../text/some.ts'
import { type Check, fails, ok, warning } from './check.ts'

export interface RoutingMarks {
  readonly steeringMark: number
  readonly envoyMark: number
  readonly routeTable: number
  readonly rulePriority: number
}

const families = ['IPv4', 'IPv6'] as const

export function checkRouting(options: RoutingMarks): readonly Check[] {
  const { routeTable } = options
  return withSocket('route', {}, socket => {
    const rules = families.flatMap(family => listRules(socket, family))
    const routes = families.flatMap(family => listRoutes(socket, family, routeTable))
    const names = new Map(listLinks(socket).map(({ index, name }) => [index, name]))
    return [
      checkRules(rules, options),
      checkTable(rules, foreignRoutes(routes, names), routeTable),
      checkOrder(rules, options),
    ]
  })
}

/**
 * Prints routes of others in words.
 * @param names of interfaces, by their index
 */
function foreignRoutes(routes: readonly Route[], names: ReadonlyMap<number, string>): readonly string[] {
  const others = routes.filter(route => !isOurRoute(route))
  return others.map(route => routeText(route, index => names.get(index) ?? `interface ${index}`))
}

export function checkRules(rules: readonly Rule[], marks: RoutingMarks): Check {
  const colliding = rulesWithMarks(rules, marks)
  if (colliding.length === 0) return ok('marks in routing rules', 'nobody else uses ours')
  const remedy = 'choose other bits: --steering-mark, --envoy-mark'
  return fails('marks in routing rules', someOf(colliding), remedy)
}

/** Lists rules of others that match our marks, in words. */
export function rulesWithMarks(
  rules: readonly Rule[],
  { steeringMark, envoyMark, routeTable }: RoutingMarks,
): readonly string[] {
  const bits = steeringMark | envoyMark
  return foreign(rules, routeTable)
    .filter(({ mark }) => ((mark?.value ?? 0) & bits) !== 0)
    .map(oneLine)
}

/** @param routes of others in the table, in words */
export function checkTable(rules: readonly Rule[], routes: readonly string[], routeTable: number): Check {
  const name = `routing table ${routeTable}`
  const leadThere = foreign(rules, routeTable).filter(({ table }) => table === routeTable)
  const users = [...leadThere.map(oneLine), ...routes]
  if (users.length === 0) return ok(name, 'free')
  return fails(name, `in use: ${someOf(users)}`, 'choose another: --route-table')
}

const localTable = 255

/**
 * Checks the order: a rule before ours routes what is redirected to Envoy by its own table, where its selector matches.
 */
export function checkOrder(
  rules: readonly Rule[],
  { routeTable, rulePriority }: Pick<RoutingMarks, 'routeTable' | 'rulePriority'>,
): Check {
  const name = 'order of routing rules'
  const before = foreign(rules, routeTable).filter(
    ({ priority, table }) => priority < rulePriority && table !== localTable,
  )
  if (before.length === 0) return ok(name, `none of others before ours (${rulePriority})`)
  const remedy = 'what they match never comes to Envoy: give ours a lower number, --rule-priority'
  return warning(name, `before ours (${rulePriority}): ${someOf(before.map(oneLine))}`, remedy)
}

/** Leaves out the rule that the agent makes. */
function foreign(rules: readonly Rule[], routeTable: number): readonly Rule[] {
  return rules.filter(rule => !isOurRule(rule, routeTable))
}

function oneLine({ text }: Rule): string {
  return text.replace('\t', ' ')
}
