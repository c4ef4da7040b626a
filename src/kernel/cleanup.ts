/** Removes everything that Lightpath ever made in the kernel of this node. Open connections live on. */

import type { Family } from './family.ts'
import { cleanupIptables } from './iptables/install.ts'
import { IptablesPrograms } from './iptables/programs.ts'
import { withNftables } from './nftables/client.ts'
import { tableOf } from './nftables/rules/ruleset.ts'
import { removePathTest } from './probes/pathtest.ts'
import { removeReplyTest } from './probes/replytest.ts'
import { removeSendTest } from './probes/sendtest.ts'
import type { CommandPrefix } from './system/command.ts'
import { type RoutingOptions, removeRouting } from './system/routing.ts'

/** What was removed, in words for a user; empty where there was nothing. Rejects with a CommandError. */
export async function cleanupKernel(
  options: Pick<RoutingOptions, 'routeTable'>,
  { prefix, netns }: { readonly prefix?: CommandPrefix; readonly netns?: string } = {},
): Promise<readonly string[]> {
  const removed: string[] = []
  const tests = [await removePathTest(netns), await removeReplyTest(netns), await removeSendTest(netns)]
  if (tests.includes(true)) removed.push('what a test of the path to Envoy left behind')
  for (const family of ['ip', 'ip6'] satisfies Family[]) {
    const table = tableOf(family)
    if (await withNftables(netns, nft => nft.deleteTable(table))) {
      removed.push(`nftables table ${family} ${table.name}`)
    }
    if (removeRouting(family, options, netns)) {
      removed.push(`${family} routing rule and route of table ${options.routeTable}`)
    }
  }
  return [...removed, ...(await cleanupIptables(new IptablesPrograms(prefix)))]
}
