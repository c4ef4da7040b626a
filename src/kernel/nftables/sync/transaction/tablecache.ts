/** Caches what the kernel has and no single Service port owns: chains, shared elements, totals. */

import type { Family } from '../../../family.ts'
import type { Bytes } from '../../bytes.ts'
import type { NftClient } from '../../client.ts'
import { type ElementName, type Elements, isOverlaySet, isShared, ownerOf, setOf } from '../../elements/elements.ts'
import { isOwnObject } from '../../elements/ownobjects.ts'
import { difference } from '../../elements/plan.ts'
import { readTables } from '../../elements/reading.ts'
import { Transaction } from './transaction.ts'

/**
 * One Service port on its way from `current`, which the kernel has, to `wanted`. What both have alike may be in
 * neither.
 */
export interface Change {
  readonly current: Elements
  readonly wanted: Elements
}

/** A transaction, and what to remember once it has been applied. */
export interface Prepared {
  readonly transaction: Transaction
  commit(): void
}

/** The elements of tables. */
export type FoundElements = Map<ElementName, Bytes>

/** Elements by the VIP, protocol and port that they belong to; see `ownerOf`. */
export type OwnedElements = Map<Bytes, Map<ElementName, Bytes>>

export class TableCache {
  /** As `ip endpoints-tcp-3`. */
  readonly #chains = new Set<string>()
  /** How many ports have each element of `hairpin`. */
  readonly #shared = new Map<ElementName, number>()
  /** Elements of `hairpin` that the kernel has from before and that no port has asked for yet. */
  readonly #leftShared = new Set<ElementName>()
  /** How many elements there are in each set, by what their names begin with, as a number. */
  readonly #totals: number[] = []

  /** Reads what the kernel has into a new cache. Undefined where a table is missing. */
  static async read(
    nft: NftClient,
    families: readonly Family[],
  ): Promise<{ readonly cache: TableCache; readonly found: FoundElements } | undefined> {
    const cache = new TableCache()
    const found: FoundElements = new Map()
    const exists = await readTables(nft, families, {
      chain: (family, name) => void cache.#chains.add(`${family} ${name}`),
      element: (name, value) => {
        cache.#count(name, 1)
        if (isShared(name)) cache.#leftShared.add(name)
        found.set(name, value)
      },
    })
    return exists ? { cache, found } : undefined
  }

  /** Records that a port has these elements, as the kernel had them before. */
  adopt(names: Iterable<ElementName>): void {
    for (const name of names) {
      if (!isShared(name)) continue
      addTo(this.#shared, name, 1)
      this.#leftShared.delete(name)
    }
  }

  get totals(): ReadonlyMap<string, number> {
    return new Map(
      this.#totals.flatMap((count, code) => {
        const { family, set } = setOf(String.fromCharCode(code))
        return count === 0 ? [] : [[`${family} ${set}`, count]]
      }),
    )
  }

  prepare(changes: readonly Change[]): Prepared {
    const transaction = new Transaction()
    const shared = new Map<ElementName, number>()
    const counted: (readonly [name: ElementName, by: number])[] = []
    const remove = (name: ElementName) => {
      transaction.remove(name)
      counted.push([name, -1])
    }
    const add = (name: ElementName, value: Bytes) => {
      transaction.add(name, value, this.#chains)
      counted.push([name, 1])
    }
    for (const { current, wanted } of changes) {
      const { removed, added } = difference(current, wanted)
      for (const name of removed) isShared(name) ? addTo(shared, name, -1) : remove(name)
      for (const [name, value] of added) isShared(name) ? addTo(shared, name, 1) : add(name, value)
    }
    for (const [name, by] of shared) {
      const before = this.#shared.get(name) ?? 0
      if (before === 0 && by > 0 && !this.#leftShared.has(name)) add(name, '')
      if (before > 0 && before + by === 0) remove(name)
    }
    const commit = () => {
      for (const chain of transaction.chains) this.#chains.add(chain)
      for (const [name, by] of shared) {
        addTo(this.#shared, name, by)
        this.#leftShared.delete(name)
      }
      for (const [name, by] of counted) this.#count(name, by)
    }
    return { transaction, commit }
  }

  /**
   * Removes elements that no port has asked for: before those of ports are written, since they may lead to chains that
   * ports take away.
   */
  prepareStale(owned: OwnedElements, maxElements: number): Iterable<Prepared> {
    return this.#prepareRemovals(
      [...namesIn(owned)].filter(name => !isOwnObject(setOf(name).set)),
      maxElements,
    )
  }

  /**
   * Removes the chains and sets of single ports that no port has asked for, and the shared elements that nobody uses:
   * after those of ports are written, which may have led there, and only where none was refused, which may lead there
   * still. The chains `endpoints-…` stay: there are no more of them than Service ports have had numbers of endpoints.
   */
  prepareLeftovers(owned: OwnedElements, maxElements: number): Iterable<Prepared> {
    const objects = [...namesIn(owned)].filter(name => isOwnObject(setOf(name).set))
    return this.#prepareRemovals([...objects, ...this.#leftShared], maxElements)
  }

  *#prepareRemovals(names: readonly ElementName[], maxElements: number): Generator<Prepared> {
    for (let start = 0; start < names.length; start += maxElements) {
      const part = names.slice(start, start + maxElements)
      const transaction = new Transaction()
      for (const name of part) transaction.remove(name)
      const commit = () => {
        for (const name of part) {
          this.#leftShared.delete(name)
          this.#count(name, -1)
        }
      }
      yield { transaction, commit }
    }
  }

  /** Forgets the overlay, which was emptied by other means. */
  forgetOverlay(): void {
    for (const code of this.#totals.keys()) {
      if (isOverlaySet(setOf(String.fromCharCode(code)).set)) this.#totals[code] = 0
    }
  }

  #count(name: ElementName, by: number): void {
    const code = name.charCodeAt(0)
    this.#totals[code] = (this.#totals[code] ?? 0) + by
  }
}

/** Groups what is left of the elements found by its owner, without those that ports share. */
export function byOwner(found: FoundElements): OwnedElements {
  const owned: OwnedElements = new Map()
  for (const [name, value] of found) {
    const owner = ownerOf(name)
    if (owner === undefined) continue
    const elements = owned.get(owner)
    if (elements) elements.set(name, value)
    else owned.set(owner, new Map([[name, value]]))
  }
  return owned
}

function* namesIn(owned: OwnedElements): Generator<ElementName> {
  for (const elements of owned.values()) yield* elements.keys()
}

function addTo(counts: Map<string, number>, name: string, by: number): void {
  const count = (counts.get(name) ?? 0) + by
  if (count === 0) counts.delete(name)
  else counts.set(name, count)
}
