/**
 * The fixed part of our tables: sets, maps and chains. A Service is only elements in these (elements/plan.ts), so the
 * number of chains does not grow with the number of Services, apart from those with session affinity
 * (elements/affinity.ts).
 */

import { createHash } from 'node:crypto'
import type { Family } from '../../family.ts'
import type { RulesetOptions } from '../../options.ts'
import { type SetName, useSets } from '../elements/elements.ts'
import {
  type LoadBalancingChain,
  loadBalancingChainName,
  localPolicy,
  localSlots,
  markMasquerade,
  parseLoadBalancingChainName,
} from '../elements/external.ts'
import { parseObjectName } from '../elements/ownobjects.ts'
import { type Chain, type Operation, operationsText, type Table } from '../operations.ts'
import { fixedSets } from '../sets.ts'
import { fixedChains, pathCounters } from './chains.ts'
import { clientAddressChains, restoreChain } from './clientaddress.ts'
export const tableName = 'lightpath'

export function tableOf(family: Family): Table {
  return { family, name: tableName }
}

/** Chooses one of `count` endpoints at random; shared by all Service ports with so many. */
function endpointsChain(chain: LoadBalancingChain): Chain {
  const { transport, count, kind, isLocal } = chain
  const address = kind === 'node-port' ? 'masked daddr' : 'daddr'
  const random = { random: count, offset: isLocal ? localSlots : 0 }
  const map = `endpoints-${transport}` satisfies SetName
  return {
    name: loadBalancingChainName(chain),
    rules: [[{ kind: 'dnat by map', key: [address, `${transport} dport`, random], map }]],
  }
}

/**
 * Makes the chain of this name, to which an element's value goes and which has to exist; undefined for names of others.
 */
export function loadBalancingChain(name: string): Chain | undefined {
  const chain = parseLoadBalancingChainName(name)
  return chain && endpointsChain(chain)
}

/** Makes the fixed part. It ends with an empty chain whose name tells this part from that of other versions. */
export function fixedPart(family: Family, options: RulesetOptions): Extract<Operation, { do: 'declare' }> {
  const chains = [...fixedChains(family, options), ...clientAddressChains(options)]
  const counters = pathCounters
  const sets = options.tracksUse ? fixedSets : fixedSets.filter(({ name }) => !useSets.includes(name))
  const part = { do: 'declare', table: tableOf(family), sets, counters, chains } as const
  const sample = endpointsChain({ transport: 'tcp', count: 1 })
  const marker = markerOf(operationsText([part, { ...part, sets: [], chains: [sample] }]))
  return { ...part, chains: [...chains, { name: marker, rules: [] }] }
}

/** Counts, by name, how many lines each chain of the fixed part has when it is whole. */
export function fixedRules(family: Family, options: RulesetOptions): ReadonlyMap<string, number> {
  const chains = [...fixedChains(family, options), ...clientAddressChains(options)]
  return new Map(chains.map(({ name, hook, rules }) => [name, rules.length + (hook === undefined ? 0 : 1)]))
}

/** Whether the client's address is preserved, by a table that has these chains. */
export function hasClientAddress(chains: readonly string[]): boolean {
  return chains.includes(restoreChain)
}

/** Whether this is the name of a chain that chooses among so many endpoints. */
export function isLoadBalancingChain(name: string): boolean {
  return parseLoadBalancingChainName(name) !== undefined
}

/** Names the chain that `fixedPart` ends with. */
export function markerFor(family: Family, options: RulesetOptions): string {
  return fixedPart(family, options).chains.at(-1)!.name
}

function markerOf(text: string): string {
  return `ruleset-${createHash('sha256').update(text).digest('hex').slice(0, 12)}`
}

/** Chains of the fixed part that elements jump to. */
const namedByElements: readonly string[] = ['refuse', markMasquerade, ...Object.values(localPolicy)]

/**
 * Removes the chains of another version of us, in one transaction with the new fixed part. Sets and maps stay, and so
 * do the chains that their elements jump to. Chains of single Service ports are left alone: they are compared as
 * elements are.
 *
 * @param former names of sets that this version has no use for
 */
export function replacement(
  family: Family,
  chains: Iterable<string>,
  former: readonly string[],
  options: RulesetOptions,
): readonly Operation[] {
  const table = tableOf(family)
  const names = [...chains].filter(name => parseObjectName(family, name) === undefined)
  const kept = (name: string) => namedByElements.includes(name) || isLoadBalancingChain(name)
  const loadBalancing = names.flatMap(name => loadBalancingChain(name) ?? [])
  return [
    ...names.map(name => ({ do: 'flush chain', table, name }) as const),
    ...names.filter(name => !kept(name)).map(name => ({ do: 'delete chain', table, name }) as const),
    ...former.map(name => ({ do: 'delete set', table, name }) as const),
    fixedPart(family, options),
    ...(loadBalancing.length > 0 ? [{ do: 'declare', table, sets: [], chains: loadBalancing } as const] : []),
  ]
}
