/** The programs of the system that the tables need; tests have others. */

import type { CommandPrefix } from './command.ts'
import { type Reconciliation, removeStaleUdp, type UdpFrontends } from './conntrack.ts'
import { ConsoleNft } from './console.ts'
import type { Family } from './elements.ts'
import type { NftClient } from './nft.ts'
import { ensureRouting, type RoutingOptions } from './routing.ts'

/** Rejections are CommandErrors. */
export interface KernelPrograms {
  readonly nft: NftClient
  ensureRouting(family: Family): Promise<void>
  removeStaleUdp(frontends: UdpFrontends): Promise<readonly Reconciliation[]>
  /** Ends what is still running; nothing is asked any more. */
  close(): void
}

export function systemPrograms(
  options: RoutingOptions,
  { prefix, netns }: { readonly prefix?: CommandPrefix; readonly netns?: string },
): KernelPrograms {
  const nft = new ConsoleNft(prefix)
  return {
    nft,
    ensureRouting: family => ensureRouting(family, options, prefix),
    removeStaleUdp: frontends => removeStaleUdp(frontends, netns),
    close: () => nft.close(),
  }
}
