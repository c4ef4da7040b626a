/** Our tables as the kernel has them, in the words of elements.ts. */

import { type Family, overlaySwitch } from './elements.ts'
import type { NftClient } from './nftables/client.ts'

export interface TableReader {
  /** Not of single Service ports: those are elements. `rules` counts the hook of a base chain, too. */
  chain(family: Family, name: string, rules: number): void
  element(name: string, value: string): void
}

/** Of the sets that are ours alone; the overlay's switch is the administrator's. False where a table is missing. */
export async function readTables(
  nft: Pick<NftClient, 'read'>,
  families: readonly Family[],
  { chain, element }: TableReader,
): Promise<boolean> {
  for (const family of families) {
    const own = `${family} ${overlaySwitch} `
    const reader: TableReader = { chain, element: (name, value) => void (name.startsWith(own) || element(name, value)) }
    if (!(await nft.read(family, reader))) return false
  }
  return true
}
