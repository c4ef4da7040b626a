/** The programs of the system that the tables need; tests have their own. */

import { type Family, familiesOf } from '../family.ts'
import type { KernelOptions } from '../options.ts'
import { type Reconciliation, removeStaleFlows, type StaleFrontends } from '../system/connections/conntrack.ts'
import { ensureRouting, type RoutingOptions } from '../system/routing/steering.ts'
import { type RoutingEvents, watchRouting } from '../system/routing/watch.ts'
import { Nftables, type NftClient, writerPort } from './client.ts'
import { type ForeignChange, watchTables } from './watch.ts'

/** Rejections are CommandErrors, or errors of netlink. */
export interface KernelPrograms {
  readonly nft: NftClient
  /** Resolves to whether something was missing. */
  ensureRouting(family: Family): Promise<boolean>
  /** Reports changes of our tables by others. Returns a function that ends it. */
  watchTables(families: readonly Family[], onForeign: (changed: ForeignChange) => void): () => void
  /** Returns a function that ends it. */
  watchRouting(events: RoutingEvents): () => void
  removeStaleFlows(frontends: StaleFrontends): Promise<readonly Reconciliation[]>
  /** Ends what is still running. No call may follow. */
  close(): void
}

/** @param netns such as `/var/run/netns/node1`; undefined: this process's own */
export function systemPrograms(
  options: RoutingOptions & Pick<KernelOptions, 'families'>,
  netns?: string,
): KernelPrograms {
  const nft = new Nftables(netns, writerPort(familiesOf(options.families)))
  return {
    nft,
    ensureRouting: async family => ensureRouting(family, options, netns),
    watchTables: (watched, onForeign) => watchTables(watched, { isOwn: port => nft.isOwn(port), onForeign }, netns),
    watchRouting: events => watchRouting(options.routeTable, events, netns),
    removeStaleFlows: frontends => removeStaleFlows(frontends, netns),
    close: () => nft.close(),
  }
}
