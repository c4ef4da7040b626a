/** The switch by which people take a node's overlay off: as nft.ts has it, in an ipset. */

import type { Family } from '../elements.ts'
import { everywhere, overlaySwitch } from './chains.ts'
import type { IptablesPrograms } from './programs.ts'

export async function setOverlaySwitch(programs: IptablesPrograms, families: readonly Family[], on: boolean) {
  const members = families.flatMap(family => everywhere[family].map(network => `${overlaySwitch(family)} ${network}`))
  await programs.restoreSets(members.map(member => `${on ? 'del' : 'add'} ${member}\n`).join(''))
}

/** Whether the overlay is on; undefined where there are no sets. Off in one family counts as off. */
export async function readOverlaySwitch(programs: IptablesPrograms, families: readonly Family[]) {
  const sets = await programs.sets()
  if (!families.every(family => sets.includes(overlaySwitch(family)))) return undefined
  const members = await programs.saveMembers()
  return !families.some(family => members.has(`${overlaySwitch(family)} ${everywhere[family][0]}`))
}
