/** The rules of a Service port that the kernel has, as they were written or as they were found. Pure. */

import type { PortState } from '../../plan/ports/port.ts'
import { type Problem, problem } from '../../services/problem.ts'
import type { Family } from '../family.ts'
import { isOfOverlay } from './batch.ts'
import { servicesChain, setNames, systemSetName } from './chains.ts'
import type { PortRules } from './ports.ts'
import type { SavedPortChain, SavedRules } from './saved.ts'

export interface Written {
  /** Undefined where something else was found. */
  readonly state: PortState | undefined
  readonly rules: PortRules
}

/** Returns what of these rules the kernel has. A chain's name says what is in it, unless somebody else emptied it. */
export function adopt(
  { state, rules }: Written,
  members: ReadonlySet<string>,
  chains: ReadonlyMap<string, SavedPortChain>,
): Written {
  const chain = hasChain(rules.chain, chains) ? rules.chain : undefined
  const isKnown = chain !== undefined || !rules.chain
  const found = rules.members.filter(member => members.has(member))
  return { state: isKnown ? state : undefined, rules: { ...rules, chain, members: found } }
}

export function isWhole(
  written: Written | undefined,
  members: ReadonlySet<string>,
  saved: ReadonlyMap<Family, SavedRules>,
): boolean {
  if (!written) return true
  const { family, chain, members: own } = written.rules
  return (!chain || hasChain(chain, saved.get(family)!.ports)) && own.every(member => members.has(member))
}

function hasChain(chain: PortRules['chain'], chains: ReadonlyMap<string, SavedPortChain>): boolean {
  const there = chain && chains.get(chain.name)
  return there?.dispatch !== undefined && there.size === chain!.rules.length
}

/** Returns what the kernel has of a port after the overlay was emptied by other means. */
export function withoutOverlay({ state, rules }: Written): Written {
  return { state, rules: { ...rules, members: rules.members.filter(member => !isOfOverlay(member)) } }
}

export function isOurs(member: string, families: readonly Family[]): boolean {
  const set = member.split(' ', 1)[0]!
  return families.some(family => setNames.some(name => systemSetName(family, name) === set))
}

/** Describes the rules in words: where they are, what they are. */
export function describe({ chain, members }: PortRules): readonly string[] {
  const rules = chain?.rules.map(rule => `${chain.name} ${rule}`) ?? []
  const dispatch = chain ? [`${servicesChain} ${chain.dispatch}`] : []
  return [...dispatch, ...rules, ...members]
}

/** Reports what of a port iptables does not serve. */
export function problemsOf({ namespace, name, external }: PortState): readonly Problem[] {
  if (!external) return []
  const reason =
    '--proxy-mode iptables does not serve its addresses from outside (node port, external and load-balancer IPs)'
  return [
    problem('LP404', `Service ${namespace}/${name}`, reason, 'its cluster IP is served; use --proxy-mode nftables'),
  ]
}
