/** The backend that writes by nf_tables (`--proxy-mode nftables`). */

import type { IpFamily } from '../../net/address.ts'
import type { BackendPreflight, KernelBackend, RulesTrial } from '../backend.ts'
import { type Family, familyNames } from '../family.ts'
import type { RulesetOptions } from '../options.ts'
import { CommandError } from '../system/command.ts'
import { type Nftables, withNftables } from './client.ts'
import { loadBalancingChainName } from './elements/external.ts'
import { renderRuleset } from './render.ts'
import { fixedPart, loadBalancingChain, tableName, tableOf } from './rules/ruleset.ts'
import { readTable, snapshotText } from './snapshot.ts'
import { readOverlaySwitch, setOverlaySwitch } from './switch.ts'
import { KernelTables } from './sync/table.ts'

const families: readonly Family[] = ['ip', 'ip6']

export const nftables: KernelBackend = {
  name: 'nftables',
  capabilities: { servesExternal: true, tracksUse: true, preservesClient: true, needsNfTables: true },
  create: (options, observer) => new KernelTables(options, observer),
  preflight: { programs: [], tryRules },
  overlaySwitch: {
    missing: `table ${tableName}`,
    families: () => withNftables(undefined, findTables),
    read: served => withNftables(undefined, nft => readOverlaySwitch(nft, served)),
    set: (served, on) => withNftables(undefined, nft => setOverlaySwitch(nft, served, on)),
  },
  find: async () => (await withNftables(undefined, findTables)).map(titleOf),
  cleanup: ({ netns } = {}) =>
    withNftables(netns, async nft => {
      const removed: string[] = []
      for (const family of families) if (await nft.deleteTable(tableOf(family))) removed.push(titleOf(family))
      return removed
    }),
  describe: renderRuleset,
  dump: families.map(family => [`nft-${family}.txt`, () => tableText(family)] as const),
}

function titleOf(family: Family): string {
  return `nftables table ${family} ${tableName}`
}

async function findTables(nft: Nftables): Promise<readonly Family[]> {
  try {
    const found: Family[] = []
    for (const family of families) if (await nft.exists(tableOf(family))) found.push(family)
    return found
  } catch (error) {
    // A kernel without nf_tables, which other backends are for.
    if (error instanceof CommandError && error.failure !== 'permission') return []
    throw error
  }
}

/**
 * Tests the whole fixed part, in a table of another name, in a batch that is never committed: TPROXY, maps, all hooks.
 */
async function tryRules(ipFamily: IpFamily, options: RulesetOptions): ReturnType<BackendPreflight['tryRules']> {
  const family = familyNames[ipFamily]
  const sample = loadBalancingChain(loadBalancingChainName({ transport: 'tcp', count: 2 }))!
  const { chains, ...part } = fixedPart(family, options)
  const table = { family, name: `${tableName}-preflight` }
  try {
    await withNftables(undefined, nft => nft.check([{ ...part, table, chains: [...chains, sample] }]))
    return { found: 'the kernel takes our rules: TPROXY, maps, NAT' }
  } catch (error) {
    return refusal(error as CommandError)
  }
}

function refusal({ failure, message }: CommandError): RulesTrial {
  if (failure === 'permission') return { found: message, remedy: 'run as root' }
  const remedy = 'use a kernel with nft_tproxy, nft_nat, nft_numgen and nf_tables'
  return { found: `the kernel refuses our rules: ${message}`, remedy }
}

async function tableText(family: Family): Promise<string> {
  const table = tableOf(family)
  const found = await withNftables(undefined, nft => readTable(nft, table))
  if (found === undefined) throw new Error(`there is no table ${family} ${table.name}`)
  return snapshotText(found)
}
