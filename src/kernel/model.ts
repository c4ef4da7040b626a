/**
 * A model of nftables, as far as we use it: takes the texts that nft would, refuses what nft would refuse, and says
 * what becomes of a packet. Rules without a kernel and without root, for tests; the rules may change shape freely.
 */

import { parseObjectName } from './affinity.ts'
import type { Family } from './elements.ts'
import { type ListingReader, parseElements } from './listing.ts'
import { type Outcome, type Packet, type Surroundings, Trace, type TracedTable } from './tracer.ts'

interface Table extends TracedTable {
  /** The sets that packets fill. */
  readonly dynamic: Set<string>
}

export class NftablesModel {
  readonly #tables = new Map<Family, Table>()

  /** All elements by `ip services 10.0.0.1 . tcp . 80`, and the chains and sets of single ports as elements. */
  elements(): Map<string, string> {
    const all = new Map<string, string>()
    const found = (family: Family, name: string, value: string) => {
      const own = parseObjectName(name)
      if (own) all.set(`${family} ${own.set} ${own.key}`, value)
    }
    for (const family of this.#tables.keys()) {
      this.read(family, {
        chain: (name, rules) => found(family, name, rules.join('\n')),
        set: name => found(family, name, ''),
        element: (set, key, value) => void all.set(`${family} ${set} ${key}`, value),
      })
    }
    return all
  }

  chainNames(family: Family): readonly string[] {
    return [...(this.#tables.get(family)?.chains.keys() ?? [])]
  }

  copy(): NftablesModel {
    const copy = new NftablesModel()
    for (const [family, { sets, dynamic, chains }] of this.#tables) {
      copy.#tables.set(family, {
        dynamic: new Set(dynamic),
        sets: new Map([...sets].map(([name, elements]) => [name, new Map(elements)])),
        chains: new Map([...chains].map(([name, rules]) => [name, [...rules]])),
      })
    }
    return copy
  }

  /** Throws for what nft refuses. Unlike nft, has then done a part of it. */
  apply(text: string): void {
    let table: Table | undefined
    let chain: string[] | undefined
    let set: string | undefined
    let depth = 0
    for (const line of text.split('\n').map(untrimmed => untrimmed.trim())) {
      if (line === '') continue
      const opening = /^(?:table (\S+) (\S+)|(set|map|chain) (\S+)) \{$/.exec(line)
      if (opening) {
        depth++
        const [, family, , kind, name] = opening
        if (family) table = this.#addTable(family as Family)
        else if (kind === 'chain') chain = getOrAdd(table!.chains, name!, () => [])
        else {
          set = name!
          getOrAdd(table!.sets, set, () => new Map())
        }
      } else if (line === '}') {
        depth--
        chain = undefined
        set = undefined
      } else if (depth === 0) this.#command(line)
      else if (chain && !(line.startsWith('type ') && chain.includes(line))) chain.push(line)
      else if (set && line.startsWith('flags dynamic')) table!.dynamic.add(set)
    }
    this.#checkReferences()
  }

  read(family: Family, reader: ListingReader): boolean {
    const table = this.#tables.get(family)
    if (!table) return false
    for (const [name, rules] of table.chains) reader.chain?.(name, rules)
    for (const [set, elements] of table.sets) {
      reader.set?.(set)
      if (table.dynamic.has(set)) continue
      for (const [key, value] of elements) reader.element?.(set, key, value)
    }
    return true
  }

  #addTable(family: Family): Table {
    return getOrAdd(this.#tables, family, () => ({ sets: new Map(), dynamic: new Set(), chains: new Map() }))
  }

  #command(line: string): void {
    const [, verb, kind, family, , name, body] =
      /^(add|delete|flush) (table|chain|set|element) (ip6?) (\S+)(?: (\S+))?(?: \{ (.*) \})?$/.exec(line) ??
      refuse(line)
    if (verb === 'add' && kind === 'table') return void this.#addTable(family as Family)
    const table = this.#tables.get(family as Family) ?? refuse(`no table: ${line}`)
    if (kind === 'table') return void this.#tables.delete(family as Family)
    if (kind === 'chain') {
      if (!table.chains.has(name!)) refuse(`no chain: ${line}`)
      if (verb === 'delete') table.chains.delete(name!)
      else table.chains.set(name!, [])
      return
    }
    const elements = table.sets.get(name!) ?? refuse(`no set: ${line}`)
    if (verb === 'flush') elements.clear()
    if (kind === 'set' && verb === 'delete') {
      table.sets.delete(name!)
      table.dynamic.delete(name!)
      return
    }
    for (const [key, value] of parseElements(body ?? '')) {
      if (verb === 'delete') elements.delete(key) || refuse(`no element ${key} in ${name}`)
      else if (elements.has(key) && elements.get(key) !== value) refuse(`element ${key} exists in ${name}`)
      else elements.set(key, value)
    }
  }

  #checkReferences(): void {
    for (const { sets, chains } of this.#tables.values()) {
      const values = [...sets.values()].flatMap(elements => [...elements.values()])
      for (const text of [...values, ...[...chains.values()].flat()]) {
        const target = /\b(?:goto|jump) (\S+)/.exec(text)?.[1]
        if (target !== undefined && !chains.has(target)) refuse(`no chain ${target}`)
        for (const [, set] of text.matchAll(/@(\S+)/g)) if (!sets.has(set!)) refuse(`no set ${set}`)
      }
    }
  }

  trace(packet: Packet, surroundings: Surroundings): Outcome {
    return new Trace(packet, surroundings, this.#tables.get(packet.family)).run()
  }
}

function getOrAdd<Key, Value>(map: Map<Key, Value>, key: Key, make: () => Value): Value {
  const value = map.get(key) ?? make()
  map.set(key, value)
  return value
}

function refuse(reason: string): never {
  throw new Error(reason)
}
