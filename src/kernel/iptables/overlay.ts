/** The switch with which people turn a node's overlay off, as nftables/switch.ts, in an ipset. */

import type { Family } from '../family.ts'
import { everywhere, overlaySwitch } from './chains.ts'
import type { IptablesPrograms } from './programs.ts'

export async function setOverlaySwitch(programs: IptablesPrograms, families: readonly Family[], on: boolean) {
  await programs.restoreSets(families.map(family => renderOverlaySwitch(family, on)).join(''))
}

/** Renders the switch for `ipset restore -exist`. */
export function renderOverlaySwitch(family: Family, on: boolean): string {
  return everywhere[family].map(network => `${on ? 'del' : 'add'} ${overlaySwitch(family)} ${network}\n`).join('')
}

/** @param members as `IptablesPrograms.saveMembers` */
export function isSwitchedOff(family: Family, members: ReadonlySet<string>): boolean {
  return members.has(`${overlaySwitch(family)} ${everywhere[family][0]}`)
}

/** Whether the overlay is on; undefined where there are no sets. Off in one family counts as off. */
export async function readOverlaySwitch(programs: IptablesPrograms, families: readonly Family[]) {
  const sets = await programs.sets()
  if (!families.every(family => sets.includes(overlaySwitch(family)))) return undefined
  const members = await programs.saveMembers()
  return !families.some(family => isSwitchedOff(family, members))
}
