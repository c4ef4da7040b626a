/**
 * A model of nftables, as far as we use it: does what the kernel would, refuses what it would refuse, and says what
 * becomes of a packet. Rules without a kernel and without root, for tests.
 */

import type { Family } from '../family.ts'
import { type Bytes, verdictOf } from '../nftables/bytes.ts'
import type { TableReader } from '../nftables/client.ts'
import { type ElementName, elementName, overlaySwitch, setCode } from '../nftables/elements/elements.ts'
import { parseObjectName } from '../nftables/elements/ownobjects.ts'
import { elementText, elementValueText } from '../nftables/elements/text.ts'
import { keyText, typesOf } from '../nftables/elements/values.ts'
import { type Operation, ruleClauses } from '../nftables/operations.ts'
import { ownChainValue } from '../nftables/rules/ownchain.ts'
import type { Statement } from '../nftables/rules/statement.ts'
import { fixedSets } from '../nftables/sets.ts'
import type { Outcome, Packet, TracedNode } from './packet.ts'
import { Trace, type TracedTable } from './tracer.ts'

interface Table extends TracedTable {
  /** The sets whose elements come and go by themselves. */
  readonly dynamic: Set<string>
}

export class NftablesModel {
  readonly #tables = new Map<Family, Table>()

  /**
   * Returns all elements in words, as `ip services 10.0.0.1 . tcp . 80`, and the chains and sets of single ports as
   * elements.
   */
  elements(): Map<string, string> {
    const words = [...this.found()].map(([name, value]) => [elementText(name), elementValueText(name, value)] as const)
    const switches = [...this.#tables].filter(([, { sets }]) => sets.get(overlaySwitch)?.size)
    return new Map([...words, ...switches.map(([family]) => [`${family} ${overlaySwitch} ${family}`, ''] as const)])
  }

  /** Returns all elements but the switch of the overlay. */
  found(): Map<ElementName, Bytes> {
    const all = new Map<ElementName, Bytes>()
    const element = (name: ElementName, value: Bytes) => void all.set(name, value)
    for (const family of this.#tables.keys()) this.read(family, { chain: () => {}, element })
    return all
  }

  /** Returns the keys of a set; undefined where there is no table. */
  keys(family: Family, set: string): readonly Bytes[] | undefined {
    const table = this.#tables.get(family)
    return table && [...(table.sets.get(set)?.keys() ?? [])]
  }

  chainNames(family: Family): readonly string[] {
    return [...(this.#tables.get(family)?.chains.keys() ?? [])]
  }

  setNames(family: Family): readonly string[] {
    return [...(this.#tables.get(family)?.sets.keys() ?? [])]
  }

  copy(): NftablesModel {
    const copy = new NftablesModel()
    for (const [family, { sets, dynamic, chains }] of this.#tables) {
      copy.#tables.set(family, {
        dynamic: new Set(dynamic),
        sets: new Map([...sets].map(([name, elements]) => [name, new Map(elements)])),
        chains: new Map(chains),
      })
    }
    return copy
  }

  /** Throws for what the kernel refuses. Unlike the kernel, has then done a part of it. */
  apply(operations: readonly Operation[]): void {
    for (const operation of operations) this.#apply(operation)
    this.#checkReferences()
  }

  /** Reads a table; false where there is none. */
  read(family: Family, reader: TableReader): boolean {
    const table = this.#tables.get(family)
    if (!table) return false
    for (const { name, hook, rules } of table.chains.values()) {
      const own = parseObjectName(family, name)
      if (own) {
        const clauses = rules.map(rule => ruleClauses(family, rule))
        reader.element(elementName(family, own.set, own.key), ownChainValue(family, own, clauses))
      } else reader.chain(family, name, rules.length + (hook === undefined ? 0 : 1))
    }
    for (const [set, elements] of table.sets) {
      const own = parseObjectName(family, set)
      if (own) reader.element(elementName(family, own.set, own.key), '')
      const prefix = own ? elementName(family, 'source-ranges', own.key) : setCode(family, set)
      if (table.dynamic.has(set) || prefix === undefined) continue
      for (const [key, value] of elements) reader.element(prefix + key, value)
    }
    return true
  }

  #apply(operation: Operation): void {
    const { family } = operation.table
    if (operation.do === 'declare') return void this.#declare(operation)
    const table = this.#tables.get(family) ?? refuse(`no table ${family}`)
    switch (operation.do) {
      case 'delete table':
        this.#tables.delete(family)
        return
      case 'flush chain':
      case 'delete chain': {
        const chain = table.chains.get(operation.name) ?? refuse(`no chain ${operation.name}`)
        if (operation.do === 'delete chain') table.chains.delete(chain.name)
        else table.chains.set(chain.name, { ...chain, rules: [] })
        return
      }
      case 'flush set':
        elementsOf(table, operation.name).clear()
        return
      case 'delete set':
        elementsOf(table, operation.name)
        table.sets.delete(operation.name)
        table.dynamic.delete(operation.name)
        return
      default:
        return void change(operation, elementsOf(table, operation.set.name))
    }
  }

  #declare({ table: { family }, sets, chains }: Extract<Operation, { do: 'declare' }>): void {
    const table = getOrAdd(this.#tables, family, () => ({ sets: new Map(), dynamic: new Set(), chains: new Map() }))
    for (const { name, dynamicSize, isTimed } of sets) {
      getOrAdd(table.sets, name, () => new Map())
      if (dynamicSize !== undefined || isTimed) table.dynamic.add(name)
    }
    for (const chain of chains) {
      const rules = [...(table.chains.get(chain.name)?.rules ?? []), ...chain.rules]
      table.chains.set(chain.name, { ...chain, rules })
    }
  }

  #checkReferences(): void {
    for (const { sets, chains } of this.#tables.values()) {
      const statements = [...chains.values()].flatMap(({ rules }) => rules.flat())
      const verdicts = statements.flatMap(statement => (statement.kind === 'verdict' ? statement.verdict : []))
      const values = verdictMaps.flatMap(name => [...(sets.get(name)?.values() ?? [])])
      for (const { chain } of [...verdicts, ...values.map(verdictOf)]) {
        if (chain !== undefined && !chains.has(chain)) refuse(`no chain ${chain}`)
      }
      for (const name of statements.flatMap(setsOf)) if (!sets.has(name)) refuse(`no set ${name}`)
    }
  }

  trace(packet: Packet, node: TracedNode): Outcome {
    return new Trace(packet, node, this.#tables.get(packet.family)).run()
  }
}

const verdictMaps = fixedSets.filter(({ data }) => data === 'verdict').map(({ name }) => name)

function elementsOf({ sets }: Table, name: string): Map<Bytes, Bytes> {
  return sets.get(name) ?? refuse(`no set ${name}`)
}

function change(
  { do: verb, table, set, elements }: Extract<Operation, { do: 'add' | 'delete' }>,
  held: Map<Bytes, Bytes>,
): void {
  const text = (key: Bytes) => `${keyText(typesOf(table.family, set), key)} in ${set.name}`
  for (const { key, value } of elements) {
    if (verb === 'delete') held.delete(key) || refuse(`no element ${text(key)}`)
    else if (held.has(key) && held.get(key) !== value) refuse(`there is another element ${text(key)}`)
    else held.set(key, value)
  }
}

function setsOf(statement: Statement): readonly string[] {
  switch (statement.kind) {
    case 'lookup':
    case 'remember':
      return [statement.set]
    case 'verdict map':
    case 'dnat by map':
      return [statement.map]
    default:
      return []
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
