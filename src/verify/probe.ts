/** Reads what is in the kernel of this node, and waits until what is on its way has arrived. */

import { setTimeout as delay } from 'node:timers/promises'
import { familyNames } from '../kernel/family.ts'
import { withNftables } from '../kernel/nftables/client.ts'
import { type NftTable, readTable as read } from '../kernel/nftables/snapshot.ts'
import type { IpFamily } from '../net/address.ts'
import { type Difference, lasting } from './compare.ts'

/** Reads a table; undefined where there is no such table. Rejects with a CommandError. */
export function readTable(family: IpFamily, name: string): Promise<NftTable | undefined> {
  return withNftables(undefined, nft => read(nft, { family: familyNames[family], name }))
}

/** Longer than kube-proxy waits between two syncs (1 s). */
const pauseMs = 3000
const maxLooks = 5

/**
 * Probes until two probes in a row agree, and returns what both found. Where changes never end, returns what the last
 * two have in common.
 */
export async function probeUntilSettled(
  look: () => Promise<readonly Difference[]>,
  pause: () => Promise<void> = () => delay(pauseMs),
): Promise<readonly Difference[]> {
  let found = await look()
  for (let looks = 1; looks < maxLooks && found.length > 0; looks++) {
    await pause()
    const now = await look()
    const both = lasting(found, now)
    if (both.length === now.length || looks === maxLooks - 1) return both
    found = now
  }
  return found
}
