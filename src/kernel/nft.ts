/** The nft program. It is given one transaction at a time, which applies as a whole or not at all. */

import { CommandError, type CommandPrefix, runCommand } from './command.ts'
import type { Family } from './elements.ts'
import { type ListingReader, listingParser } from './listing.ts'
import { overlaySwitch, tableName } from './ruleset.ts'

/** What KernelTables asks of nft. */
export type NftClient = Pick<Nft, 'apply' | 'chains' | 'list' | 'listSet'>

export class Nft {
  readonly #prefix: CommandPrefix

  constructor(prefix: CommandPrefix = []) {
    this.#prefix = prefix
  }

  apply(text: string): Promise<void> {
    return runCommand(['nft', '-f', '-'], { prefix: this.#prefix, input: text })
  }

  /** The names of our table's chains, none where there is no table. Takes no longer where there are many elements. */
  async chains(family: Family): Promise<readonly string[]> {
    const names: string[] = []
    await this.#list(['list', 'chains', family], { chain: name => void names.push(name) })
    return names
  }

  async exists(family: Family): Promise<boolean> {
    let found = false
    const onLine = (line: string) => {
      found ||= line === `table ${family} ${tableName}`
    }
    await runCommand(['nft', 'list', 'tables', family], { prefix: this.#prefix, onLine })
    return found
  }

  /** Reads our table with all its elements. False where it does not exist. */
  list(family: Family, reader: ListingReader): Promise<boolean> {
    // Protocols as numbers: their names depend on /etc/protocols, which slim container images lack.
    return this.#list(['-p', 'list', 'table', family, tableName], reader)
  }

  listSet(family: Family, set: string, reader: ListingReader): Promise<boolean> {
    return this.#list(['list', 'set', family, tableName, set], reader)
  }

  async #list(args: readonly string[], reader: ListingReader): Promise<boolean> {
    try {
      await runCommand(['nft', ...args], { prefix: this.#prefix, onLine: listingParser(reader) })
      return true
    } catch (error) {
      const isAbsent =
        error instanceof CommandError && error.failure === 'refused' && /No such file/.test(error.message)
      if (isAbsent) return false
      throw error
    }
  }
}

/**
 * Takes this node's overlay off, or puts it on again, in the kernel itself: it needs no agent, and none changes it.
 * Rejects where the tables do not exist.
 */
export async function setOverlaySwitch(nft: Nft, families: readonly Family[], on: boolean): Promise<void> {
  await nft.apply(families.map(family => renderOverlaySwitch(family, on)).join(''))
}

/** What switches one family's overlay, however it is now. */
export function renderOverlaySwitch(family: Family, on: boolean): string {
  const element = `element ${family} ${tableName} ${overlaySwitch} { ${family} }\n`
  return on ? `add ${element}delete ${element}` : `add ${element}`
}

/** Whether the overlay is on; undefined where there is no table. Off in one family counts as off. */
export async function readOverlaySwitch(nft: Nft, families: readonly Family[]): Promise<boolean | undefined> {
  let elements = 0
  for (const family of families) {
    const exists = await nft.listSet(family, overlaySwitch, { element: () => void elements++ })
    if (!exists) return undefined
  }
  return elements === 0
}
