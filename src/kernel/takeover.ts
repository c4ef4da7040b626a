/**
 * Finds and removes what other backends (`--proxy-mode`) left on this node: an agent takes over from one that wrote
 * with another. Both sets of rules would redirect and translate, and the switch of one would not stop the other.
 */

import type { KernelBackend } from './backend.ts'
import { backends } from './backends.ts'
import type { Family } from './family.ts'

/** Lists it in words; empty where there is nothing. Rejects with a CommandError. */
export async function findLeftovers(own: KernelBackend, among = backends): Promise<readonly string[]> {
  const found: string[] = []
  for (const other of among) if (other !== own) found.push(...(await other.find()))
  return found
}

/**
 * Removes it, once all is written by the own backend. An overlay that people have switched off stays so. Returns what
 * was removed, in words. Rejects with a CommandError.
 */
export async function takeOver(
  own: KernelBackend,
  served: readonly Family[],
  among = backends,
): Promise<readonly string[]> {
  const removed: string[] = []
  for (const other of among) {
    if (other === own || (await other.find()).length === 0) continue
    if (await isSwitchedOff(other)) await own.overlaySwitch.set(served, false)
    removed.push(...(await other.cleanup()))
  }
  return removed
}

async function isSwitchedOff({ overlaySwitch }: KernelBackend): Promise<boolean> {
  return (await overlaySwitch.read(await overlaySwitch.families())) === false
}

/** Switches the overlay of this node off, whichever backend wrote it. */
export async function switchAllOff(among = backends): Promise<void> {
  for (const { overlaySwitch } of among) {
    const found = await overlaySwitch.families()
    if (found.length > 0) await overlaySwitch.set(found, false)
  }
}
