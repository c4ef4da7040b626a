/** Changes recorded in any order and written as one text for `nft -f -`, in an order in which each is valid. */

import { objectName, renderAffinity, renderClients } from './affinity.ts'
import { type Family, type OwnObject, overlaySets, partsOf, policySets, rangeSets, type SetName } from './elements.ts'
import { block, chainFor, tableName } from './ruleset.ts'

/** What nft reads as one command; its error messages quote the whole of it. */
const elementsPerCommand = 256

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

interface Item {
  readonly key: string
  readonly value: string
}

export class Transaction {
  /** Chains, before all elements. */
  readonly #chainTexts: string[] = []
  /** By `ip services` and the like. */
  readonly #removed = new Map<string, Item[]>()
  readonly #added = new Map<string, Item[]>()
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
    const chain = set === 'services' || set === 'local-services' ? chainFor(family, value) : undefined
    if (chain === undefined) return
    const chainName = `${family} ${chain.name}`
    if (existing.has(chainName) || this.chains.has(chainName)) return
    this.chains.add(chainName)
    this.#chainTexts.push(chain.text)
  }

  /** The elements that it is about. */
  *names(): Generator<string> {
    for (const lists of [this.#removed, this.#added]) {
      for (const [set, items] of lists) for (const { key } of items) yield `${set} ${key}`
    }
  }

  text(): string {
    const commands = [...this.#chainTexts]
    for (const set of removalOrder) commands.push(...elementCommands('delete', set, this.#removed))
    for (const family of families) commands.push(...this.#ownObjectCommands(family))
    for (const set of additionOrder) commands.push(...elementCommands('add', set, this.#added))
    return commands.join('')
  }

  /** A chain that gets other rules is not deleted: what jumps to it stays. */
  *#ownObjectCommands(family: Family): Generator<string> {
    const chains = this.#added.get(`${family} affinity`) ?? []
    const staying = new Set(chains.map(({ key }) => key))
    for (const { key } of this.#removed.get(`${family} affinity`) ?? []) {
      const chain = `chain ${family} ${tableName} ${objectName('affinity', key)}\n`
      yield `flush ${chain}`
      if (!staying.has(key)) yield `delete ${chain}`
    }
    for (const { key } of this.#removed.get(`${family} clients`) ?? []) {
      yield `delete set ${family} ${tableName} ${objectName('clients', key)}\n`
    }
    const sets = this.#added.get(`${family} clients`) ?? []
    if (sets.length + chains.length === 0) return
    const texts = [
      ...sets.map(({ key }) => renderClients(key, family)),
      ...chains.map(({ key, value }) => renderAffinity(key, value)),
    ]
    yield block(family, texts.join(''))
  }
}

const families: readonly Family[] = ['ip', 'ip6']

function push(lists: Map<string, Item[]>, name: string, item: Item): void {
  const list = lists.get(name)
  if (list) list.push(item)
  else lists.set(name, [item])
}

function* elementCommands(verb: 'add' | 'delete', set: SetName, lists: Map<string, Item[]>): Generator<string> {
  for (const family of families) {
    const items = lists.get(`${family} ${set}`) ?? []
    for (let start = 0; start < items.length; start += elementsPerCommand) {
      const part = items.slice(start, start + elementsPerCommand)
      const texts = part.map(({ key, value }) => (value === '' ? key : `${key} : ${value}`))
      yield `${verb} element ${family} ${tableName} ${set} { ${texts.join(', ')} }\n`
    }
  }
}
