/** Removes everything that Lightpath ever made in the kernel of this node. Open connections live on. */

import type { KernelPlace } from './backend.ts'
import { backends } from './backends.ts'
import { removePathTest } from './probes/pathtest.ts'
import { removeReplyTest } from './probes/replytest.ts'
import { removeSendTest } from './probes/sendtest.ts'
import { type RoutingOptions, removeRouting } from './system/routing/steering.ts'

/** Returns in words for a user what it removed; empty where there was nothing. Rejects with a CommandError. */
export async function cleanupKernel(
  options: Pick<RoutingOptions, 'routeTable'>,
  where: KernelPlace = {},
  among = backends,
): Promise<readonly string[]> {
  const { netns } = where
  const removed: string[] = []
  const tests = [await removePathTest(netns), await removeReplyTest(netns), await removeSendTest(netns)]
  if (tests.includes(true)) removed.push('what a test of the path to Envoy left behind')
  for (const backend of among) removed.push(...(await backend.cleanup(where)))
  for (const family of ['ip', 'ip6'] as const) {
    if (!removeRouting(family, options, netns)) continue
    removed.push(`${family} routing rule and route of table ${options.routeTable}`)
  }
  return removed
}
