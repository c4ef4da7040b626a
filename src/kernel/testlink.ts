/** A pair of interfaces by which a test sends packets to the node as if they came from elsewhere. */

import { CommandError, type CommandPrefix, runCommand } from './command.ts'
import { type Family, familyNames } from './elements.ts'

/** For `ip -batch`. Without ARP the two need no neighbours, and take each other's packets because they have the same address. */
export function testLink([inner, outer]: readonly [string, string], address: string): readonly string[] {
  return [
    `link add ${inner} address ${address} type veth peer name ${outer} address ${address}`,
    ...[inner, outer].map(device => `link set ${device} arp off addrgenmode none up`),
  ]
}

/** Removes the pair, by one of the two, and the test's nftables tables; whether there was anything. */
export async function removeTest(device: string, table: string, prefix: CommandPrefix = []): Promise<boolean> {
  const commands = [
    ['ip', 'link', 'delete', device],
    ...Object.values(familyNames).map(family => ['nft', 'delete', 'table', family, table]),
  ]
  let found = false
  for (const command of commands) {
    try {
      await runCommand(command, { prefix })
      found = true
    } catch (error) {
      if (!(error instanceof CommandError) || error.failure !== 'refused') throw error
    }
  }
  return found
}

/** How many packets each counter of the test's table has counted, by its name. */
export async function countedPackets(family: Family, table: string): Promise<ReadonlyMap<string, number>> {
  const packets = new Map<string, number>()
  let counter = ''
  const onLine = (line: string) => {
    counter = /^\s*counter (\w+) \{/.exec(line)?.[1] ?? counter
    const found = /packets (\d+)/.exec(line)
    if (found) packets.set(counter, Number(found[1]))
  }
  await runCommand(['nft', 'list', 'counters', 'table', family, table], { onLine })
  return packets
}
