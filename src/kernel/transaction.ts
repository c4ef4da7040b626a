/** Changes recorded in any order and written as one transaction, in an order in which each is valid. */

import { affinityChain, clientsSet, objectName } from './affinity.ts'
import { type Family, type OwnObject, overlaySets, partsOf, policySets, rangeSets, type SetName } from './elements.ts'
import type { Chain, Operation, SetElement } from './nftables/operations.ts'
import { fixedSet, type SetDefinition } from './nftables/sets.ts'
import { chainFor, tableOf } from './ruleset.ts'

/** What one message holds: the length of an attribute has 16 bits. */
const elementsPerOperation = 256

/** Whatever refers to something goes before it, and comes after it; chains and sets of single ports lie beneath all. */
const removalOrder: readonly Exclude<SetName, OwnObject>[] = [
  ...([
    ...overlaySets,
    'external',
    'services',
    'local-services',
    'no-endpoints',
    'hairpin',
    'cluster-ips',
    'service-ranges',
    ...policySets,
    'restricted',
    'allowed-sources',
    ...rangeSets,
  ] as const),
  ...(['endpoints-tcp', 'endpoints-udp', 'endpoints-sctp'] as const),
]
const additionOrder = removalOrder.toReversed()

export class Transaction {
  /** Before all elements. */
  readonly #newChains: { readonly family: Family; readonly chain: Chain }[] = []
  /** By `ip services` and the like. */
  readonly #removed = new Map<string, SetElement[]>()
  readonly #added = new Map<string, SetElement[]>()
  /** The chains that this transaction adds, as `ip endpoints-tcp-3`. */
  readonly chains = new Set<string>()
  removals = 0
  additions = 0

  get isEmpty(): boolean {
    return this.removals + this.additions === 0
  }

  remove(name: string): void {
    this.removals++
    const { family, set, key } = partsOf(name)
    push(this.#removed, `${family} ${set}`, { key, value: '' })
  }

  /** An element that exists with another value has to be removed as well. Chains not in `existing` are added first. */
  add(name: string, value: string, existing: ReadonlySet<string>): void {
    this.additions++
    const { family, set, key } = partsOf(name)
    push(this.#added, `${family} ${set}`, { key, value })
    const chain = set === 'services' || set === 'local-services' ? chainFor(value) : undefined
    if (chain === undefined) return
    const chainName = `${family} ${chain.name}`
    if (existing.has(chainName) || this.chains.has(chainName)) return
    this.chains.add(chainName)
    this.#newChains.push({ family, chain })
  }

  /** The elements that it is about. */
  *names(): Generator<string> {
    for (const lists of [this.#removed, this.#added]) {
      for (const [set, items] of lists) for (const { key } of items) yield `${set} ${key}`
    }
  }

  operations(): readonly Operation[] {
    return [
      ...this.#newChains.map(({ family, chain }) => declare(family, [], [chain])),
      ...removalOrder.flatMap(set => [...elementOperations('delete', set, this.#removed)]),
      ...families.flatMap(family => [...this.#ownObjectOperations(family)]),
      ...additionOrder.flatMap(set => [...elementOperations('add', set, this.#added)]),
    ]
  }

  /** A chain that gets other rules is not deleted: what jumps to it stays. */
  *#ownObjectOperations(family: Family): Generator<Operation> {
    const table = tableOf(family)
    const chains = this.#added.get(`${family} affinity`) ?? []
    const staying = new Set(chains.map(({ key }) => key))
    for (const { key } of this.#removed.get(`${family} affinity`) ?? []) {
      const name = objectName('affinity', key)
      yield { do: 'flush chain', table, name }
      if (!staying.has(key)) yield { do: 'delete chain', table, name }
    }
    for (const { key } of this.#removed.get(`${family} clients`) ?? []) {
      yield { do: 'delete set', table, name: objectName('clients', key) }
    }
    const sets = this.#added.get(`${family} clients`) ?? []
    if (sets.length + chains.length === 0) return
    yield declare(
      family,
      sets.map(({ key }) => clientsSet(key)),
      chains.map(({ key, value }) => affinityChain(key, value)),
    )
  }
}

const families: readonly Family[] = ['ip', 'ip6']

function declare(family: Family, sets: readonly SetDefinition[], chains: readonly Chain[]): Operation {
  return { do: 'declare', table: tableOf(family), sets, chains }
}

function push(lists: Map<string, SetElement[]>, name: string, item: SetElement): void {
  const list = lists.get(name)
  if (list) list.push(item)
  else lists.set(name, [item])
}

function* elementOperations(verb: 'add' | 'delete', set: SetName, lists: Map<string, SetElement[]>) {
  for (const family of families) {
    const items = lists.get(`${family} ${set}`) ?? []
    for (let start = 0; start < items.length; start += elementsPerOperation) {
      const elements = items.slice(start, start + elementsPerOperation)
      yield { do: verb, table: tableOf(family), set: fixedSet(set), elements } as const
    }
  }
}
