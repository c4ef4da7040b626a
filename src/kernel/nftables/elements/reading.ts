/** Reads our tables as the kernel has them, in the terms of elements.ts. */

import type { Family } from '../../family.ts'
import type { NftClient, TableReader } from '../client.ts'

/** Resolves to false where a table is missing. */
export async function readTables(
  nft: Pick<NftClient, 'read'>,
  families: readonly Family[],
  reader: TableReader,
): Promise<boolean> {
  for (const family of families) if (!(await nft.read(family, reader))) return false
  return true
}
