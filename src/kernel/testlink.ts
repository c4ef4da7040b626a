/** A pair of interfaces by which a test sends packets to the node as if they came from elsewhere. */

import { CommandError, type CommandPrefix, runCommand } from './command.ts'
import { type Family, familyNames } from './elements.ts'
import { withNftables } from './nftables/client.ts'
import type { Table } from './nftables/operations.ts'

/** For `ip -batch`. Without ARP the two need no neighbours, and take each other's packets because they have the same address. */
export function testLink([inner, outer]: readonly [string, string], address: string): readonly string[] {
  return [
    `link add ${inner} address ${address} type veth peer name ${outer} address ${address}`,
    ...[inner, outer].map(device => `link set ${device} arp off addrgenmode none up`),
  ]
}

/** Removes the pair, by one of the two, and the test's nftables tables; whether there was anything. */
export async function removeTest(
  device: string,
  table: string,
  { prefix, netns }: { readonly prefix?: CommandPrefix; readonly netns?: string } = {},
): Promise<boolean> {
  const tables = Object.values(familyNames).map(family => ({ family, name: table }))
  const found = [await removeLink(device, prefix ?? []), ...(await removeTables(tables, netns))]
  return found.includes(true)
}

async function removeLink(device: string, prefix: CommandPrefix): Promise<boolean> {
  try {
    await runCommand(['ip', 'link', 'delete', device], { prefix })
    return true
  } catch (error) {
    if (error instanceof CommandError && error.failure === 'refused') return false
    throw error
  }
}

async function removeTables(tables: readonly Table[], netns: string | undefined): Promise<readonly boolean[]> {
  return withNftables(netns, async nft => {
    const found: boolean[] = []
    for (const table of tables) found.push(await nft.deleteTable(table))
    return found
  })
}

/** How many packets each counter of the test's table has counted, by its name. */
export function countedPackets(family: Family, table: string): Promise<ReadonlyMap<string, number>> {
  return withNftables(undefined, nft => nft.counters({ family, name: table }))
}
