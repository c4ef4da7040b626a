/** What the kernel has, as far as no single Service port owns it: chains, shared elements, totals. */

import { type Elements, type Family, isOverlaySet, ownerOf, ownObjects, partsOf, type SetName } from './elements.ts'
import type { NftClient } from './nftables/client.ts'
import { difference } from './plan.ts'
import { readTables } from './reading.ts'
import { Transaction } from './transaction.ts'

/** One Service port on its way from `current`, which the kernel has, to `wanted`. What both have alike may be in neither. */
export interface Change {
  readonly current: Elements
  readonly wanted: Elements
}

/** A transaction and what is to be remembered once it has been applied. */
export interface Prepared {
  readonly transaction: Transaction
  commit(): void
}

/** Elements by the VIP, protocol and port that they belong to; see `ownerOf`. */
export type OwnedElements = Map<string, Map<string, string>>

export class Mirror {
  /** As `ip endpoints-tcp-3`. */
  readonly #chains = new Set<string>()
  /** How many ports have each element of `hairpin`. */
  readonly #shared = new Map<string, number>()
  /** Elements of `hairpin` that the kernel has from before and that no port has asked for yet. */
  readonly #leftShared = new Set<string>()
  /** How many elements there are, by `ip services` and the like. */
  readonly #totals = new Map<string, number>()

  /** Reads what the kernel has into a new mirror. Undefined where a table is missing. */
  static async read(
    nft: NftClient,
    families: readonly Family[],
  ): Promise<{ readonly mirror: Mirror; readonly owned: OwnedElements } | undefined> {
    const mirror = new Mirror()
    const owned: OwnedElements = new Map()
    const exists = await readTables(nft, families, {
      chain: (family, name) => void mirror.#chains.add(`${family} ${name}`),
      element: (name, value) => mirror.#found(owned, name, value),
    })
    if (!exists) return undefined
    return { mirror, owned }
  }

  #found(owned: OwnedElements, name: string, value: string): void {
    const parts = partsOf(name)
    this.#count(name, 1)
    const owner = ownerOf(parts)
    if (owner === undefined) {
      this.#leftShared.add(name)
      return
    }
    const elements = owned.get(owner)
    if (elements) elements.set(name, value)
    else owned.set(owner, new Map([[name, value]]))
  }

  get totals(): ReadonlyMap<string, number> {
    return this.#totals
  }

  prepare(changes: readonly Change[]): Prepared {
    const transaction = new Transaction()
    const shared = new Map<string, number>()
    const counted: (readonly [name: string, by: number])[] = []
    const remove = (name: string) => {
      transaction.remove(name)
      counted.push([name, -1])
    }
    const add = (name: string, value: string) => {
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

  /** Elements that no port has asked for. Before those of ports are written: they may lead to chains that ports take away. */
  prepareStale(owned: OwnedElements, maxElements: number): Iterable<Prepared> {
    return this.#prepareRemovals(
      [...namesIn(owned)].filter(name => !isOwnObject(name)),
      maxElements,
    )
  }

  /**
   * The chains and sets of single ports that no port has asked for, and the shared elements that nobody uses. After those of
   * ports are written, which may have led there, and only where none was refused, which may lead there still. The chains
   * `endpoints-…` stay: there are no more of them than Service ports have had numbers of endpoints.
   */
  prepareLeftovers(owned: OwnedElements, maxElements: number): Iterable<Prepared> {
    const objects = [...namesIn(owned)].filter(isOwnObject)
    return this.#prepareRemovals([...objects, ...this.#leftShared], maxElements)
  }

  *#prepareRemovals(names: readonly string[], maxElements: number): Generator<Prepared> {
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

  /** The overlay was emptied by other means. */
  forgetOverlay(): void {
    for (const name of this.#totals.keys()) {
      if (isOverlaySet(name.slice(name.indexOf(' ') + 1) as SetName)) this.#totals.delete(name)
    }
  }

  #count(name: string, by: number): void {
    const beforeKey = name.indexOf(' ', name.indexOf(' ') + 1)
    addTo(this.#totals, name.slice(0, beforeKey), by)
  }
}

function isShared(name: string): boolean {
  return ownerOf(partsOf(name)) === undefined
}

function* namesIn(owned: OwnedElements): Generator<string> {
  for (const elements of owned.values()) yield* elements.keys()
}

function isOwnObject(name: string): boolean {
  const { set } = partsOf(name)
  return ownObjects.some(object => object === set)
}

function addTo(counts: Map<string, number>, name: string, by: number): void {
  const count = (counts.get(name) ?? 0) + by
  if (count === 0) counts.delete(name)
  else counts.set(name, count)
}
