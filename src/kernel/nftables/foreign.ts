/**
 * Base chains of others that drop what our rules need.
 *
 * Accepting is no conflict: in nf_tables it ends one base chain, and the packet goes on to the next of the hook
 * (nft(8), VERDICT STATEMENTS). Dropping is for good, whoever comes later.
 */

import { ctKeys, type Expression, metaKeys, type VerdictData, verdictCodes } from './rules/expression.ts'
import { tableName } from './rules/ruleset.ts'
import { type FoundChain, type FoundRule, type Ruleset, tableFamilies } from './wire/dump.ts'

/** Names are such as `ip filter INPUT`. */
export interface BlockingChains {
  /** Base chains at input or forward whose policy is drop. */
  readonly dropping: readonly string[]
  /** Those of them that no rule lets a new connection through, except on the loopback interface. */
  readonly closed: readonly string[]
  /** Base chains at prerouting that come before ours and drop: `ip raw PREROUTING (priority -300)`. */
  readonly droppingBefore: readonly string[]
}

interface Named {
  readonly family: number
  readonly table: string
}

/** Of our first chain at prerouting. */
const firstPriority = -150

/** Picks the objects of a kind that are in tables of others. */
export function foreign<T extends { readonly table: string }>(
  rulesets: readonly Ruleset[],
  of: (ruleset: Ruleset) => readonly T[],
): readonly (T & Named)[] {
  return rulesets
    .flatMap(ruleset => of(ruleset).map(each => ({ ...each, family: ruleset.family })))
    .filter(({ family, table }) => !isOurs(family, table))
}

/** Counts as ours also where another program of Lightpath's made it, as for a test. */
export function isOurs(family: number, table: string): boolean {
  return (family === tableFamilies.ip || family === tableFamilies.ip6) && table.startsWith(tableName)
}

/** `ip filter`. */
export function tableTitle({ family, table }: Named): string {
  const word = Object.entries(tableFamilies).find(([, number]) => number === family)?.[0] ?? String(family)
  return `${word} ${table}`
}

/** Whether there may be a conflict, which only the rules of the chain show. */
export function isSuspect(chain: FoundChain): boolean {
  return isPolicyDrop(chain) || isBefore(chain)
}

export function blockingChains(rulesets: readonly Ruleset[]): BlockingChains {
  const chains = foreign(rulesets, ruleset => ruleset.chains)
  const rules = Map.groupBy(
    foreign(rulesets, ruleset => ruleset.rules),
    rule => titleOf({ ...rule, name: rule.chain }),
  )
  const dropping = chains.filter(isPolicyDrop)
  const isBlocking = (chain: Named & FoundChain) => chain.hook!.policy === 'drop' || reachable(chain, rules).some(drops)
  return {
    dropping: dropping.map(titleOf),
    closed: dropping.filter(chain => !reachable(chain, rules).some(mayAccept)).map(titleOf),
    droppingBefore: chains
      .filter(chain => isBefore(chain) && isBlocking(chain))
      .map(chain => `${titleOf(chain)} (priority ${chain.hook!.priority})`),
  }
}

function titleOf(chain: Named & { readonly name: string }): string {
  return `${tableTitle(chain)} ${chain.name}`
}

function isPolicyDrop({ hook }: FoundChain): boolean {
  return hook?.policy === 'drop' && (hook.hook === 'input' || hook.hook === 'forward')
}

function isBefore({ hook }: FoundChain): boolean {
  return hook?.hook === 'prerouting' && hook.priority < firstPriority
}

/** Collects the rules of a chain, and of those that it jumps to. */
function reachable(
  base: Named & { readonly name: string },
  rules: ReadonlyMap<string, readonly FoundRule[]>,
): readonly FoundRule[] {
  const titles = new Set([titleOf(base)])
  const found: FoundRule[] = []
  // A set is iterated over what is added meanwhile, too.
  for (const title of titles) {
    for (const rule of rules.get(title) ?? []) {
      found.push(rule)
      const next = verdictOf(rule)?.chain
      if (next !== undefined) titles.add(titleOf({ ...base, name: next }))
    }
  }
  return found
}

function verdictOf({ expressions }: FoundRule): VerdictData | undefined {
  return expressions.flatMap(each => (each.name === 'immediate' && each.verdict ? [each.verdict] : []))[0]
}

/** Whether the rule drops. A reverse path check drops what nobody sent, so it does not count. */
function drops(rule: FoundRule): boolean {
  if (rule.expressions.some(isReverseCheck)) return false
  return rule.expressions.some(({ name }) => name === 'reject') || verdictOf(rule)?.code === verdictCodes.drop
}

function isReverseCheck(expression: Expression): boolean {
  return expression.name === 'fib' || (expression.name === 'match' && expression.extension === 'rpfilter')
}

/** Whether the rule may accept a new connection that is not the node's with itself. */
function mayAccept(rule: FoundRule): boolean {
  const { expressions } = rule
  const decides = verdictOf(rule)?.code === verdictCodes.accept || expressions.some(isOpenDecision)
  return (
    decides &&
    !expressions.some((expression, index) => isOfOpenConnection(expression) || isLoopback(expressions, index))
  )
}

/** Whether a map or a program decides. */
function isOpenDecision(expression: Expression): boolean {
  if (expression.name === 'lookup') return expression.dreg === 0
  return expression.name === 'other' && expression.type === 'queue'
}

/** Rules that ask for the state accept what is established or related. */
function isOfOpenConnection(expression: Expression): boolean {
  if (expression.name === 'ct') return expression.key === ctKeys.state
  return expression.name === 'match' && ['conntrack', 'state'].includes(expression.extension)
}

function isLoopback(expressions: readonly Expression[], index: number): boolean {
  const [load, compare] = [expressions[index]!, expressions[index + 1]]
  if (load.name !== 'meta' || compare?.name !== 'cmp') return false
  const data = Buffer.from(compare.data)
  if (load.key === metaKeys.iif) return data.readUInt32LE() === 1
  return load.key === metaKeys.iifname && data.toString().replace(/\0+$/, '') === 'lo'
}
