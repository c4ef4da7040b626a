/**
 * Writes to our tables, one transaction at a time, and tracks what they have, and what is written while somebody reads
 * them.
 */

import { setImmediate as turn } from 'node:timers/promises'
import type { Family } from '../../../family.ts'
import type { KernelObserver } from '../../../layer.ts'
import type { NftClient } from '../../client.ts'
import { type ElementName, overlaySets, setCode } from '../../elements/elements.ts'
import type { Operation } from '../../operations.ts'
import { tableName, tableOf } from '../../rules/ruleset.ts'
import { type Change, type FoundElements, type OwnedElements, type Prepared, TableCache } from './tablecache.ts'

/** Bounds how long the event loop waits for one transaction: some 5 ms, beside which a collection of garbage has room within 20. */
export const maxElementsPerTransaction = 512

export class Writer {
  readonly #nft: NftClient
  readonly #families: readonly Family[]
  readonly #observer: KernelObserver
  #cache = new TableCache()
  /** Names of elements that are being written, and of whole sets, by what the names of their elements begin with. */
  #running: () => Iterable<string> = () => []
  /** Those that were written since the reading began. */
  #touched: Set<string> | undefined

  constructor(nft: NftClient, families: readonly Family[], observer: KernelObserver) {
    this.#nft = nft
    this.#families = families
    this.#observer = observer
  }

  get totals(): ReadonlyMap<string, number> {
    return this.#cache.totals
  }

  /** Reads all that the tables have. */
  async read(): Promise<FoundElements> {
    const found = await TableCache.read(this.#nft, this.#families)
    if (!found) throw new Error(`table ${tableName} is gone`)
    this.#cache = found.cache
    return found.found
  }

  /** Records that a port has these elements, as they were read. */
  adopt(names: Iterable<ElementName>): void {
    this.#cache.adopt(names)
  }

  /** @param ports the ids of those whose elements it makes as they were asked for */
  async write(changes: readonly Change[], ports: readonly string[]): Promise<void> {
    // They were planned in this turn of the event loop.
    await breathe(changes.reduce((sum, { current, wanted }) => sum + current.size + wanted.size, 0))
    await this.#apply(this.#cache.prepare(changes), ports)
  }

  /** Removes them before ports are written; see TableCache. */
  async removeStale(owned: OwnedElements): Promise<void> {
    for (const stale of this.#cache.prepareStale(owned, maxElementsPerTransaction)) await this.#apply(stale, [])
  }

  /** Removes them after ports are written; see TableCache. */
  async removeLeftovers(owned: OwnedElements): Promise<void> {
    for (const left of this.#cache.prepareLeftovers(owned, maxElementsPerTransaction)) await this.#apply(left, [])
  }

  async clearOverlay(): Promise<void> {
    const sets = this.#families.flatMap(family => overlaySets.map(set => ({ family, set })))
    await this.#run(
      sets.map(({ family, set }) => ({ do: 'flush set', table: tableOf(family), name: set }) as const),
      () => sets.map(({ family, set }) => setCode(family, set)!),
    )
    this.#cache.forgetOverlay()
  }

  /**
   * Reads, beside whatever is written meanwhile. One at a time.
   * @param read learns which elements were written since it began: it may have read them as they were before or after
   */
  async reading<T>(read: (isTouched: (name: ElementName) => boolean) => Promise<T>): Promise<T> {
    const touched = new Set(this.#running())
    this.#touched = touched
    try {
      return await read(name => touched.has(name) || touched.has(name[0]!))
    } finally {
      this.#touched = undefined
    }
  }

  async #apply({ transaction, commit }: Prepared, ports: readonly string[]): Promise<void> {
    if (!transaction.isEmpty) {
      await breathe(transaction.additions + transaction.removals)
      const operations = transaction.operations()
      const start = performance.now()
      const bytes = await this.#run(operations, () => transaction.names())
      this.#observer.flushed?.({
        ports,
        added: transaction.additions,
        removed: transaction.removals,
        bytes,
        milliseconds: performance.now() - start,
      })
    }
    commit()
  }

  async #run(operations: readonly Operation[], names: () => Iterable<string>): Promise<number> {
    this.#running = names
    for (const name of this.#touched ? names() : []) this.#touched?.add(name)
    try {
      return await this.#nft.apply(operations)
    } finally {
      this.#running = () => []
    }
  }
}

/** Lets the event loop turn after a step of many elements. */
async function breathe(elements: number): Promise<void> {
  if (elements > maxElementsPerTransaction) await turn()
}
