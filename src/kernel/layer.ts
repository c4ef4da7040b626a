/** What the agent asks of the kernel layer, and hears of it, whichever program of the system writes it. */

import type { PolicyFacts } from '../plan/policies.ts'
import type { PortState } from '../plan/ports/port.ts'
import type { Problem } from '../services/problem.ts'
import type { ClientAddress } from '../services/settings/clientaddress.ts'
import type { NodeFacts } from './nodeconfig.ts'
import type { VipPort } from './overlay.ts'
import type { Reconciliation } from './system/conntrack.ts'

export interface KernelLayer {
  /**
   * Makes what is missing of the tables and the routing, or replaces the fixed part of another version, and leaves the
   * elements alone. Resolves to the overlay entries of a previous run: they stay until `setOverlay` or
   * `dropInheritedOverlay` says otherwise. Where it fails it reports, resolves, and tries again on its own.
   */
  start(): Promise<readonly VipPort[]>
  /** All ports that exist have been set: from now on the kernel has these and nothing else. */
  synced(): void
  /** @param node undefined where it is not known (any more) */
  setNode(node: NodeFacts | undefined): void
  /** Cluster IPs are given out of these ranges: what no Service has of them is dropped. */
  setServiceRanges(serviceRanges: readonly string[]): void
  setPort(state: PortState): void
  removePort(id: string): void
  /** These VIP:ports shall go to Envoy, or no longer. One without a TCP port that has endpoints waits for that. */
  setOverlay(vipPorts: readonly VipPort[], on: boolean): void
  /** What endpoints see as the peer of Envoy's connections; resolves when the kernel is ready for it. Begins with the option. */
  setClientAddress(clientAddress: ClientAddress): Promise<void>
  setPolicies(policies: PolicyFacts): void
  /** Empties the overlay, in a transaction of its own that comes before all else: Envoy is gone. */
  clearOverlay(): void
  /** Overlay entries of a previous run that nobody has confirmed by `setOverlay` go. */
  dropInheritedOverlay(): void
  /**
   * How long ago each port that is for Envoy had a new connection, in milliseconds, by its id, where that was of late; empty
   * where the kernel does not note it. Rejects with a CommandError.
   */
  calls(): Promise<ReadonlyMap<string, number>>
  /** Undefined for a port that is unknown. */
  snapshot(id: string): PortSnapshot | undefined
  /** Elements in the kernel by `ip services` and the like. */
  readonly totals: ReadonlyMap<string, number>
  /** Resolves when nothing is left to be written but what was refused and waits for its next try. */
  settled(): Promise<void>
  /** Stops writing. What the kernel has stays. */
  close(): Promise<void>
}

/** One transaction that was applied. */
export interface Flush {
  /** The ids of the ports whose elements it made as they were asked for. */
  readonly ports: readonly string[]
  readonly added: number
  readonly removed: number
  readonly bytes: number
  readonly milliseconds: number
}

/** One pass over what is to be written, once Services may be written at all. */
export interface SyncResult {
  /** False where nft failed; refused ports do not count. It is tried again. */
  readonly ok: boolean
  /** All that the kernel has was read and compared; else only what changed was written. */
  readonly isFull: boolean
  /** By performance.now(): what was asked for before is in the kernel now, or refused. Says nothing unless `ok`. */
  readonly syncedThrough: number
  readonly milliseconds: number
}

export interface KernelObserver {
  /** The kernel has these ports as they were last set, whether that took a transaction or not. */
  applied?(ports: readonly string[]): void
  flushed?(flush: Flush): void
  /** Somebody else changed our tables, such as `table ip lightpath is gone`. The next sync corrects that. */
  drifted?(what: string): void
  /** Whether people have switched the overlay off; whenever it is looked at. */
  overlaySwitched?(isOff: boolean): void
  /** Somebody else's routing rules changed, or may have. */
  foreignRules?(): void
  syncResult?(result: SyncResult): void
  /** Conntrack was looked through for UDP flows that had gone stale. */
  reconciled?(families: readonly Reconciliation[]): void
  /** Replaces what was said of this origin before; an empty list says that all is well. */
  problems?(origin: string, problems: readonly Problem[]): void
}

export interface PortSnapshot {
  /** What the kernel has of this port, in words, without what is on its way. */
  readonly elements: readonly string[]
  /** Something of this port is still to be written. */
  readonly pending: boolean
  /** Why it could not be written. */
  readonly problem: Problem | undefined
}
