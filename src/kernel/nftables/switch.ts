/**
 * The switch with which people turn this node's overlay off in the kernel itself: it needs no agent, and none changes
 * it.
 */

import type { Family } from '../family.ts'
import { etherTypes } from './bytes.ts'
import type { NftClient } from './client.ts'
import { overlaySwitch } from './elements/elements.ts'
import type { Operation } from './operations.ts'
import { tableOf } from './rules/ruleset.ts'
import { fixedSet } from './sets.ts'

/** Rejects where the tables do not exist. */
export async function setOverlaySwitch(nft: NftClient, families: readonly Family[], on: boolean): Promise<void> {
  await nft.apply(families.flatMap(family => switchOverlay(family, on)))
}

/** Switches one family's overlay, whatever its state. */
export function switchOverlay(family: Family, on: boolean): readonly Operation[] {
  const [table, set] = [tableOf(family), fixedSet(overlaySwitch)]
  const elements = [{ key: etherTypes[family], value: '' }]
  const off = { do: 'add', table, set, elements } as const
  return on ? [off, { ...off, do: 'delete' }] : [off]
}

/** Whether the overlay is on; undefined where there is no table. Off in one family counts as off. */
export async function readOverlaySwitch(nft: NftClient, families: readonly Family[]): Promise<boolean | undefined> {
  let isOn = true
  for (const family of families) {
    const keys = await nft.keys(family, overlaySwitch)
    if (keys === undefined) return undefined
    isOn &&= keys.length === 0
  }
  return isOn
}
