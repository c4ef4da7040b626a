/** The heartbeat (nftables/heartbeat.ts) as members of an ipset that time out. */

import type { Family } from '../family.ts'
import { everywhere, heartbeatSet } from './chains.ts'

/** In seconds; ipset takes no more. */
const longest = 2_147_483

/**
 * Renders the heartbeat for `ipset restore -exist`, which begins the time of existing members anew.
 *
 * @param abandonAfterMs 0: it never ends, which is what a time-out of 0 is to ipset
 */
export function renderHeartbeat(family: Family, abandonAfterMs: number): string {
  const seconds = Math.min(longest, Math.ceil(abandonAfterMs / 1000))
  return everywhere[family].map(network => `add ${heartbeatSet(family)} ${network} timeout ${seconds}\n`).join('')
}
