/** Removes everything that Lightpath ever made in the kernel of this node. Open connections live on. */

import { CommandError, type CommandPrefix } from './command.ts'
import type { Family } from './elements.ts'
import { cleanupIptables } from './iptables/install.ts'
import { IptablesPrograms } from './iptables/programs.ts'
import { Nft } from './nft.ts'
import { removePathTest } from './pathtest.ts'
import { removeReplyTest } from './replytest.ts'
import { type RoutingOptions, removeRouting } from './routing.ts'
import { tableName } from './ruleset.ts'
import { removeSendTest } from './sendtest.ts'

/** What was removed, in words for a user; empty where there was nothing. Rejects with a CommandError. */
export async function cleanupKernel(
  options: Pick<RoutingOptions, 'routeTable'>,
  { prefix = [], netns }: { readonly prefix?: CommandPrefix; readonly netns?: string } = {},
): Promise<readonly string[]> {
  const nft = new Nft(prefix)
  const removed: string[] = []
  const tests = [await removePathTest(prefix), await removeReplyTest(prefix), await removeSendTest(prefix)]
  if (tests.includes(true)) removed.push('what a test of the path to Envoy left behind')
  for (const family of ['ip', 'ip6'] satisfies Family[]) {
    if (await exists(nft, family)) {
      await nft.apply(`delete table ${family} ${tableName}\n`)
      removed.push(`nftables table ${family} ${tableName}`)
    }
    if (removeRouting(family, options, netns)) {
      removed.push(`${family} routing rule and route of table ${options.routeTable}`)
    }
  }
  return [...removed, ...(await cleanupIptables(new IptablesPrograms(prefix)))]
}

/** Where there is no nft program, it made no table. */
async function exists(nft: Nft, family: Family): Promise<boolean> {
  try {
    return await nft.exists(family)
  } catch (error) {
    if (error instanceof CommandError && error.failure === 'missing') return false
    throw error
  }
}
