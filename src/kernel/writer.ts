/** Applies transactions, one at a time, and knows which elements they are about while somebody reads the tables. */

import { type Family, overlaySets, partsOf } from './elements.ts'
import type { KernelObserver } from './layer.ts'
import type { NftClient } from './nft.ts'
import { tableName } from './ruleset.ts'
import type { Transaction } from './transaction.ts'

export class Writer {
  readonly #nft: Pick<NftClient, 'apply'>
  readonly #observer: KernelObserver
  /** Names of elements and of whole sets, such as `ip envoy`, that are being written. */
  #running: readonly string[] = []
  /** Those that were written since the reading began. */
  #touched: Set<string> | undefined

  constructor(nft: Pick<NftClient, 'apply'>, observer: KernelObserver) {
    this.#nft = nft
    this.#observer = observer
  }

  /** @param ports the ids of those whose elements it makes as they were asked for */
  async apply(transaction: Transaction, ports: readonly string[]): Promise<void> {
    if (transaction.isEmpty) return
    const text = transaction.text()
    const start = performance.now()
    await this.#write(text, [...transaction.names()])
    this.#observer.flushed?.({
      ports,
      added: transaction.additions,
      removed: transaction.removals,
      bytes: text.length,
      milliseconds: performance.now() - start,
    })
  }

  async clearOverlay(families: readonly Family[]): Promise<void> {
    const sets = families.flatMap(family => overlaySets.map(set => ({ family, set })))
    const text = sets.map(({ family, set }) => `flush set ${family} ${tableName} ${set}\n`).join('')
    await this.#write(
      text,
      sets.map(({ family, set }) => `${family} ${set}`),
    )
  }

  /**
   * Reads, beside whatever is written meanwhile. One at a time.
   * @param read is told which elements were written since it began, and may have been read as they were before or after
   */
  async reading<T>(read: (isTouched: (name: string) => boolean) => Promise<T>): Promise<T> {
    const touched = new Set(this.#running)
    this.#touched = touched
    try {
      return await read(name => touched.has(name) || touched.has(setNameOf(name)))
    } finally {
      this.#touched = undefined
    }
  }

  async #write(text: string, names: readonly string[]): Promise<void> {
    this.#running = names
    for (const name of names) this.#touched?.add(name)
    try {
      await this.#nft.apply(text)
    } finally {
      this.#running = []
    }
  }
}

function setNameOf(name: string): string {
  const { family, set } = partsOf(name)
  return `${family} ${set}`
}
