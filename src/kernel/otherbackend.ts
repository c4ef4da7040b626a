/**
 * What the other backend (`--proxy-mode`) left on this node: an agent that writes with one of nftables and iptables takes over from
 * one that wrote with the other. Both sets of rules would steer and translate, and the switch of one would not stop the other.
 */

import { readFileSync } from 'node:fs'
import type { Family } from './family.ts'
import { fixedPrefix, tables as iptablesTables, overlaySwitch as switchSet } from './iptables/chains.ts'
import { cleanupIptables } from './iptables/install.ts'
import { readOverlaySwitch as readSwitchOfSets, setOverlaySwitch as setSwitchOfSets } from './iptables/overlay.ts'
import { IptablesPrograms } from './iptables/programs.ts'
import type { ProxyMode } from './layer.ts'
import { type Nftables, withNftables } from './nftables/client.ts'
import { tableOf } from './nftables/rules/ruleset.ts'
import { readOverlaySwitch, setOverlaySwitch } from './nftables/switch.ts'
import { dumpChains } from './nftables/wire/dump.ts'
import { CommandError } from './system/command.ts'

const families: readonly Family[] = ['ip', 'ip6']

/** In words; empty where there is nothing. Rejects with a CommandError. */
export async function findLeftovers(own: ProxyMode): Promise<readonly string[]> {
  if (own === 'iptables') {
    const found = await withNftables(undefined, ownTables)
    return found.map(family => `nftables table ${family} ${tableOf(family).name}`)
  }
  if (!(await mayHaveIptables())) return []
  const programs = new IptablesPrograms()
  const found: string[] = []
  for (const family of families) {
    const saved = await programs.saveIfThere(family)
    const hasChains = [...(saved?.chains.values() ?? [])].some(chains => chains.size > 0)
    if (hasChains) found.push(`iptables chains ${fixedPrefix}… (${family})`)
  }
  return found
}

/**
 * Removes it, once all is written by the own backend. An overlay that people have switched off stays so. Returns what was
 * removed, in words. Rejects with a CommandError.
 */
export async function takeOver(own: ProxyMode, served: readonly Family[]): Promise<readonly string[]> {
  const found = await findLeftovers(own)
  if (found.length === 0) return found
  const programs = new IptablesPrograms()
  return await withNftables(undefined, async nft => {
    if (own === 'iptables') {
      const theirs = await ownTables(nft)
      if ((await readOverlaySwitch(nft, theirs)) === false) await setSwitchOfSets(programs, served, false)
      for (const family of theirs) await nft.deleteTable(tableOf(family))
      return found
    }
    if ((await readSwitchOfSets(programs, served)) === false) await setOverlaySwitch(nft, served, false)
    return await cleanupIptables(programs)
  })
}

/** The overlay of this node, whichever backend wrote it. */
export async function switchAllOff(): Promise<void> {
  await withNftables(undefined, async nft => setOverlaySwitch(nft, await ownTables(nft), false))
  const programs = new IptablesPrograms()
  const sets = await programs.sets()
  const served = families.filter(family => sets.includes(switchSet(family)))
  if (served.length > 0) await setSwitchOfSets(programs, served, false)
}

async function ownTables(nft: Nftables): Promise<readonly Family[]> {
  try {
    const found: Family[] = []
    for (const family of families) if (await nft.exists(tableOf(family))) found.push(family)
    return found
  } catch (error) {
    // A kernel without nftables, which --proxy-mode iptables is for.
    if (error instanceof CommandError && error.failure !== 'permission') return []
    throw error
  }
}

/** Without running a program: the variant that writes nf_tables has its chains there, and of the other the kernel tells its tables. */
async function mayHaveIptables(): Promise<boolean> {
  if (families.some(family => readTableNames(family) !== '')) return true
  return await withNftables(undefined, async nft => {
    for (const family of families) {
      for (const name of iptablesTables) {
        const chains = await nft.use(socket => dumpChains(socket, { family, name }))
        if (chains.some(chain => chain.name.startsWith(fixedPrefix))) return true
      }
    }
    return false
  })
}

/** Of iptables-legacy; empty where the module is not loaded. */
function readTableNames(family: Family): string {
  try {
    return readFileSync(`/proc/net/${family}_tables_names`, 'utf8').trim()
  } catch {
    return ''
  }
}
