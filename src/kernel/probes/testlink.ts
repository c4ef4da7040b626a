/** A pair of interfaces by which a test sends packets to the node as if they came from elsewhere. */

import { familyOf } from '../../net/address.ts'
import { type Family, familyNames } from '../family.ts'
import { addVeth, deleteLink, indexOfLink } from '../netlink/route/links.ts'
import { replaceRoute } from '../netlink/route/routes.ts'
import { type Redirection, redirectIngress } from '../netlink/route/tc.ts'
import { withSocket } from '../netlink/socket.ts'
import { withNftables } from '../nftables/client.ts'
import type { Table } from '../nftables/operations.ts'

const mainTable = 254

/**
 * Makes the pair, and routes to hosts by one of the two. Without ARP they need no neighbours, and they take each
 * other's packets because they have the same address. Throws NetlinkError, SystemCallError.
 *
 * @param hardware such as `02:00:00:00:16:66`
 * @param routes address and interface of each
 */
export function makeTestLink(
  names: readonly [string, string],
  hardware: string,
  routes: readonly (readonly [address: string, device: string])[],
): void {
  withSocket('route', {}, socket => {
    addVeth(socket, names, Buffer.from(hardware.replaceAll(':', ''), 'hex'))
    for (const [destination, device] of routes) {
      const interfaceIndex = indexOfLink(socket, device)
      replaceRoute(socket, {
        family: familyOf(destination)!,
        table: mainTable,
        type: 'unicast',
        destination,
        interfaceIndex,
      })
    }
  })
}

/** Redirects packets to the interface by which they come in afterwards, by its name. Throws as `makeTestLink`. */
export function redirectTo(device: string, redirections: readonly (Omit<Redirection, 'to'> & { to: string })[]): void {
  withSocket('route', {}, socket =>
    redirectIngress(
      socket,
      indexOfLink(socket, device),
      redirections.map(redirection => ({ ...redirection, to: indexOfLink(socket, redirection.to) })),
    ),
  )
}

/** Removes the pair, by one of the two, and the test's nftables tables; returns whether there was anything. */
export async function removeTest(device: string, table: string, netns?: string): Promise<boolean> {
  const tables = Object.values(familyNames).map(family => ({ family, name: table }))
  const hadLink = withSocket('route', { netns }, socket => deleteLink(socket, device))
  return (await removeTables(tables, netns)).includes(true) || hadLink
}

async function removeTables(tables: readonly Table[], netns: string | undefined): Promise<readonly boolean[]> {
  return withNftables(netns, async nft => {
    const found: boolean[] = []
    for (const table of tables) found.push(await nft.deleteTable(table))
    return found
  })
}

/** Reads how many packets each counter of the test's table has counted, by its name. */
export function countedPackets(family: Family, table: string): Promise<ReadonlyMap<string, number>> {
  return withNftables(undefined, nft => nft.counters({ family, name: table }))
}
