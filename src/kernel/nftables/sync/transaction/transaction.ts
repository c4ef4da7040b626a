/** Changes recorded in any order and written as one transaction, in an order in which each is valid. */

import type { Family } from '../../../family.ts'
import { type Bytes, verdictOf } from '../../bytes.ts'
import { affinityChain, clientsSet } from '../../elements/affinity.ts'
import {
  candidatesSet,
  type ElementName,
  elementName,
  type OwnObject,
  overlaySets,
  partsOf,
  policySets,
  rangeSets,
  type SetName,
} from '../../elements/elements.ts'
import { objectName, placeOf, restOf } from '../../elements/ownobjects.ts'
import { rangesSet, sourcesChain } from '../../elements/sources.ts'
import type { Chain, Operation, SetElement } from '../../operations.ts'
import { loadBalancingChain, tableOf } from '../../rules/ruleset.ts'
import { fixedSet, type SetDefinition } from '../../sets.ts'

/** The capacity of one message: the length of an attribute has 16 bits. */
const elementsPerOperation = 256

type FixedSetName = Exclude<SetName, OwnObject | 'source-ranges'>

/**
 * What refers to an object is removed before it, and added after it; chains and sets of single ports lie beneath all.
 */
const removalOrder: readonly FixedSetName[] = [
  ...([
    ...overlaySets,
    candidatesSet,
    'external',
    'services',
    'local-services',
    'no-endpoints',
    'hairpin',
    'cluster-ips',
    'service-ranges',
    ...policySets,
    'source-checks',
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

  remove(name: ElementName): void {
    this.removals++
    const { family, set, key } = partsOf(name)
    push(this.#removed, `${family} ${set}`, { key, value: '' })
  }

  /** An element that exists with another value has to be removed as well. Chains not in `existing` are added first. */
  add(name: ElementName, value: Bytes, existing: ReadonlySet<string>): void {
    this.additions++
    const { family, set, key } = partsOf(name)
    push(this.#added, `${family} ${set}`, { key, value })
    const target = set === 'services' || set === 'local-services' ? verdictOf(value).chain : undefined
    const chainName = `${family} ${target}`
    if (target === undefined || existing.has(chainName) || this.chains.has(chainName)) return
    const chain = loadBalancingChain(target)
    if (chain === undefined) return
    this.chains.add(chainName)
    this.#newChains.push({ family, chain })
  }

  /** Names the elements that it is about. */
  *names(): Generator<ElementName> {
    for (const lists of [this.#removed, this.#added]) {
      for (const [where, items] of lists) {
        const [family, set] = where.split(' ') as [Family, SetName]
        for (const { key } of items) yield elementName(family, set, key)
      }
    }
  }

  operations(): readonly Operation[] {
    return [
      ...this.#newChains.map(({ family, chain }) => declare(family, [], [chain])),
      ...removalOrder.flatMap(set => [...elementOperations('delete', set, this.#removed)]),
      ...this.#sourceRangeOperations('delete'),
      ...families.flatMap(family => [...this.#ownObjectOperations(family)]),
      ...this.#sourceRangeOperations('add'),
      ...additionOrder.flatMap(set => [...elementOperations('add', set, this.#added)]),
    ]
  }

  /** Each range is in the set of its frontend. A set that goes takes its ranges along. */
  #sourceRangeOperations(verb: 'add' | 'delete'): readonly Operation[] {
    const items = verb === 'add' ? this.#added : this.#removed
    return families.flatMap(family => {
      const keysOf = (set: SetName, lists: Map<string, SetElement[]>) =>
        new Set((lists.get(`${family} ${set}`) ?? []).map(({ key }) => key))
      const [leaving, staying] = [keysOf('ranges', this.#removed), keysOf('ranges', this.#added)]
      const byPlace = new Map<string, SetElement[]>()
      for (const { key } of items.get(`${family} source-ranges`) ?? []) {
        const [place, range] = [placeOf(family, key), restOf(family, key)]
        if (verb === 'delete' && leaving.has(place) && !staying.has(place)) continue
        push(byPlace, place, { key: range, value: '' })
      }
      return [...byPlace].flatMap(([place, elements]) => [...batches(verb, family, rangesSet(family, place), elements)])
    })
  }

  /** Deletes no chain that gets other rules: what jumps to it stays. Sets go after the rules that look into them. */
  *#ownObjectOperations(family: Family): Generator<Operation> {
    const table = tableOf(family)
    const keysOf = (lists: Map<string, SetElement[]>, set: OwnObject) => lists.get(`${family} ${set}`) ?? []
    for (const kind of ['affinity', 'sources'] as const) {
      const staying = new Set(keysOf(this.#added, kind).map(({ key }) => key))
      for (const { key } of keysOf(this.#removed, kind)) {
        const name = objectName(family, kind, key)
        yield { do: 'flush chain', table, name }
        if (!staying.has(key)) yield { do: 'delete chain', table, name }
      }
    }
    for (const kind of ['clients', 'ranges'] as const) {
      for (const { key } of keysOf(this.#removed, kind)) {
        yield { do: 'delete set', table, name: objectName(family, kind, key) }
      }
    }
    const sets = [
      ...keysOf(this.#added, 'clients').map(({ key }) => clientsSet(family, key)),
      ...keysOf(this.#added, 'ranges').map(({ key }) => rangesSet(family, key)),
    ]
    const chains = [
      ...keysOf(this.#added, 'affinity').map(({ key, value }) => affinityChain(family, key, value)),
      ...keysOf(this.#added, 'sources').map(({ key }) => sourcesChain(family, key)),
    ]
    if (sets.length + chains.length > 0) yield declare(family, sets, chains)
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

function* elementOperations(verb: 'add' | 'delete', set: FixedSetName, lists: Map<string, SetElement[]>) {
  for (const family of families) yield* batches(verb, family, fixedSet(set), lists.get(`${family} ${set}`) ?? [])
}

function* batches(
  verb: 'add' | 'delete',
  family: Family,
  set: SetDefinition,
  items: readonly SetElement[],
): Generator<Operation> {
  for (let start = 0; start < items.length; start += elementsPerOperation) {
    yield { do: verb, table: tableOf(family), set, elements: items.slice(start, start + elementsPerOperation) }
  }
}
