/** The backend that writes by iptables and ipset (`--proxy-mode iptables`), for nodes without nf_tables. */

import { readFileSync } from 'node:fs'
import type { IpFamily } from '../../net/address.ts'
import type { BackendPreflight, KernelBackend } from '../backend.ts'
import { type Family, familyNames } from '../family.ts'
import { withNftables } from '../nftables/client.ts'
import { dumpChains } from '../nftables/wire/dump.ts'
import type { RulesetOptions } from '../options.ts'
import { type CommandError, runCommand } from '../system/command.ts'
import { fixedPrefix, overlaySwitch as switchSet, tables } from './chains.ts'
import { cleanupIptables, renderFixedPart } from './install.ts'
import { IptablesLayer } from './layer.ts'
import { readOverlaySwitch, setOverlaySwitch } from './overlay.ts'
import { IptablesPrograms } from './programs.ts'
import { renderRules } from './render.ts'
import { noRules } from './saved.ts'

const families: readonly Family[] = ['ip', 'ip6']
const programs = new IptablesPrograms()

export const iptables: KernelBackend = {
  name: 'iptables',
  capabilities: { servesExternal: false, tracksUse: true, preservesClient: false, needsNfTables: false },
  create: (options, observer) => new IptablesLayer(options, observer),
  preflight: {
    programs: [
      { name: 'iptables-restore', args: ['--version'], packages: 'iptables' },
      { name: 'ip6tables-restore', args: ['--version'], packages: 'iptables' },
      // Listing also shows whether the kernel has ip_set.
      { name: 'ipset', args: ['list', '-name'], packages: 'ipset' },
    ],
    tryRules,
  },
  overlaySwitch: {
    missing: 'ipsets of Lightpath',
    families: async () => {
      const sets = await programs.sets()
      return families.filter(family => sets.includes(switchSet(family)))
    },
    read: served => readOverlaySwitch(programs, served),
    set: (served, on) => setOverlaySwitch(programs, served, on),
  },
  find: findChains,
  cleanup: ({ prefix } = {}) => cleanupIptables(new IptablesPrograms(prefix)),
  describe: (states, _node, options, sharesListener) => renderRules(states, options, sharesListener),
  dump: [
    ['iptables.txt', () => outputOf('iptables-save')],
    ['ip6tables.txt', () => outputOf('ip6tables-save')],
    ['ipsets.txt', () => outputOf('ipset', 'save')],
  ],
}

async function findChains(): Promise<readonly string[]> {
  if (!(await mayHaveChains())) return []
  const found: string[] = []
  for (const family of families) {
    const saved = await programs.saveIfThere(family)
    const hasChains = [...(saved?.chains.values() ?? [])].some(chains => chains.size > 0)
    if (hasChains) found.push(`iptables chains ${fixedPrefix}… (${family})`)
  }
  return found
}

/**
 * Tells without running a program: the variant that writes nf_tables has its chains there, and the kernel lists the
 * tables of the other.
 */
async function mayHaveChains(): Promise<boolean> {
  if (families.some(family => readTableNames(family) !== '')) return true
  return await withNftables(undefined, async nft => {
    for (const family of families) {
      for (const name of tables) {
        const chains = await nft.use(socket => dumpChains(socket, { family, name }))
        if (chains.some(chain => chain.name.startsWith(fixedPrefix))) return true
      }
    }
    return false
  })
}

/** Reads which tables iptables-legacy has; empty where the module is not loaded. */
function readTableNames(family: Family): string {
  try {
    return readFileSync(`/proc/net/${family}_tables_names`, 'utf8').trim()
  } catch {
    return ''
  }
}

/**
 * Tests with `iptables-restore --test`, without matches on sets and additions to them, since only an agent makes the
 * sets.
 */
async function tryRules(ipFamily: IpFamily, options: RulesetOptions): ReturnType<BackendPreflight['tryRules']> {
  const family = familyNames[ipFamily]
  const rules = renderFixedPart(family, noRules, options)
    .replace(/^.* -j SET .*\n/gm, '')
    .replace(/-m set (! )?--match-set \S+ \S+ /g, '')
  try {
    await programs.test(family, rules)
    return { found: 'iptables takes our rules: TPROXY, CONNMARK, NAT' }
  } catch (error) {
    const { failure, message } = error as CommandError
    if (failure === 'permission') return { found: message, remedy: 'run as root' }
    const remedy = 'modprobe ip_tables ip6_tables xt_TPROXY xt_set'
    return { found: `iptables refuses our rules: ${message}`, remedy }
  }
}

async function outputOf(...command: readonly string[]): Promise<string> {
  const lines: string[] = []
  await runCommand(command, { onLine: line => lines.push(`${line}\n`) })
  return lines.join('')
}
