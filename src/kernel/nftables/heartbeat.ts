/**
 * The heartbeat: while it is in the kernel, our rules come before kube-proxy's. A node where no agent has renewed it
 * for `--abandon-after` goes over to the rules `…-abandoned` (rules/chains.ts) by the kernel's own doing.
 */

import type { Family } from '../family.ts'
import { etherTypes } from './bytes.ts'
import { heartbeatSet } from './elements/elements.ts'
import type { Operation } from './operations.ts'
import { tableOf } from './rules/ruleset.ts'
import { fixedSet } from './sets.ts'

/**
 * Renews the heartbeat. Before Linux 6.12 an element that exists keeps its time, so it is made anew.
 *
 * @param abandonAfterMs 0: it never ends
 */
export function renewHeartbeat(family: Family, abandonAfterMs: number): readonly Operation[] {
  const table = tableOf(family)
  const element = { key: etherTypes[family], value: '', ...(abandonAfterMs > 0 && { timeoutMs: abandonAfterMs }) }
  return [
    { do: 'flush set', table, name: heartbeatSet },
    { do: 'add', table, set: fixedSet(heartbeatSet), elements: [element] },
  ]
}

/** How often the agent renews it: several times before it ends. */
export function heartbeatInterval(abandonAfterMs: number): number {
  const longest = 60e3
  return abandonAfterMs > 0 ? Math.min(longest, abandonAfterMs / 4) : longest
}
