/** The fixed part of our tables: whether the kernel has it, and what installs it. */

import type { Family } from '../../family.ts'
import type { KernelOptions } from '../../options.ts'
import type { NftClient } from '../client.ts'
import { heartbeatSet } from '../elements/elements.ts'
import { formerSets } from '../elements/sources.ts'
import { renewHeartbeat } from '../heartbeat.ts'
import type { Operation } from '../operations.ts'
import { markerFor, replacement, tableName } from '../rules/ruleset.ts'
import { switchOverlay } from '../switch.ts'

/**
 * Returns what installs the fixed part of one family. Its marker chain shows that the kernel has it: then, without
 * drift, there is nothing to write.
 *
 * @param hasDrift a table that looks whole may not be
 * @param isOff people have switched the overlay off: a table made anew keeps it off
 */
export async function installation(
  nft: NftClient,
  family: Family,
  options: KernelOptions,
  { hasDrift, isOff }: { readonly hasDrift: boolean; readonly isOff: boolean },
): Promise<readonly Operation[]> {
  const chains = await nft.chains(family)
  if (!hasDrift && chains.includes(markerFor(family, options))) return []
  const sets = await nft.sets(family)
  const former = formerSets.filter(name => sets.includes(name))
  return [
    ...replacement(family, chains, former, options),
    // Redirection that another version began goes on.
    ...(sets.includes(heartbeatSet) ? [] : renewHeartbeat(family, options.abandonAfter)),
    ...(chains.length === 0 && isOff ? switchOverlay(family, false) : []),
  ]
}

/** Rejects where a table is not there. */
export async function checkInstalled(
  nft: NftClient,
  families: readonly Family[],
  options: KernelOptions,
): Promise<void> {
  for (const family of families) {
    const isThere = await nft.hasChain(family, markerFor(family, options))
    if (!isThere) throw new Error(`table ${family} ${tableName} is gone`)
  }
}
