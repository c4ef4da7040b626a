/** Our tables as the kernel has them, in the words of elements.ts. */

import type { Bytes } from '../bytes.ts'
import type { NftClient } from '../client.ts'
import type { ElementName, Family } from './elements.ts'

export interface TableReader {
  /** Not of single Service ports: those are elements. `rules` counts the hook of a base chain, too. */
  chain(family: Family, name: string, rules: number): void
  /** Of sets that are ours alone: the overlay's switch is the administrator's. */
  element(name: ElementName, value: Bytes): void
}

/** False where a table is missing. */
export async function readTables(
  nft: Pick<NftClient, 'read'>,
  families: readonly Family[],
  reader: TableReader,
): Promise<boolean> {
  for (const family of families) if (!(await nft.read(family, reader))) return false
  return true
}
