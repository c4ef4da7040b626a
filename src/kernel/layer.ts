/** The interface between the agent and a kernel layer, whichever backend writes it. */

import type { PolicyFacts } from '../plan/policies.ts'
import type { PortState } from '../plan/ports/port.ts'
import type { Problem } from '../services/problem.ts'
import type { ClientAddress } from '../services/settings/clientaddress.ts'
import type { NodeFacts } from './nodeconfig.ts'
import type { VipPort } from './overlay.ts'
import type { Reconciliation } from './system/connections/conntrack.ts'

export interface KernelLayer {
  /**
   * Makes what is missing of the tables and the routing, or replaces the fixed part of another version, and leaves the
   * elements alone. Resolves to the overlay entries of a previous run: they stay until `setOverlay` or
   * `dropInheritedOverlay` says otherwise. Where it fails it reports, resolves, and tries again on its own.
   */
  start(): Promise<readonly VipPort[]>
  /**
   * Begins to write, once all ports that exist have been set: from now on the kernel has these and nothing else.
   * Resolves when the kernel has them, or when the first try has failed.
   */
  synced(): Promise<void>
  /** @param node undefined where it is not known (any more) */
  setNode(node: NodeFacts | undefined): void
  /** Sets the ranges of cluster IPs: packets to an address in them that no Service has are dropped. */
  setServiceRanges(serviceRanges: readonly string[]): void
  setPort(state: PortState): void
  removePort(id: string): void
  /** Adds these VIP:ports to the overlay or removes them. One without a TCP port that has endpoints waits for that. */
  setOverlay(vipPorts: readonly VipPort[], on: boolean): void
  /**
   * Sets what endpoints see as the peer of Envoy's connections; resolves when the kernel is ready for it. The option is
   * the first value.
   */
  setClientAddress(clientAddress: ClientAddress): Promise<void>
  setPolicies(policies: PolicyFacts): void
  /** Empties the overlay, in a transaction of its own that comes before all else: Envoy is gone. */
  clearOverlay(): void
  /** Removes the overlay entries of a previous run that nobody has confirmed by `setOverlay`. */
  dropInheritedOverlay(): void
  /**
   * Returns how long ago each port that is for Envoy had a new connection, in milliseconds, by its id, without ports
   * that had none for `calledSeconds`; empty where the kernel does not record it. Rejects with a CommandError.
   */
  calls(): Promise<ReadonlyMap<string, number>>
  /** Returns what the kernel has of a port; undefined for one that is unknown. */
  snapshot(id: string): PortSnapshot | undefined
  /** Elements in the kernel by `ip services` and the like. */
  readonly totals: ReadonlyMap<string, number>
  /** Resolves when nothing is left to write but what was refused and waits for its next try. */
  settled(): Promise<void>
  /** Stops writing. What the kernel has stays. */
  close(): Promise<void>
}

/** One transaction that was applied. */
export interface Flush {
  /** The ids of the ports whose elements it made as desired. */
  readonly ports: readonly string[]
  readonly added: number
  readonly removed: number
  readonly bytes: number
  readonly milliseconds: number
}

/** The result of one pass over what is to be written, once Services may be written at all. */
export interface SyncResult {
  /** False where the sync failed, which is tried again; refused ports do not count. */
  readonly ok: boolean
  /** The sync read and compared all that the kernel has; else it wrote only what had changed. */
  readonly isFull: boolean
  /** By performance.now(): what was set before is in the kernel now, or was refused. Means nothing unless `ok`. */
  readonly syncedThrough: number
  readonly milliseconds: number
}

export interface KernelObserver {
  /** The kernel has these ports as they were last set, whether that took a transaction or not. */
  applied?(ports: readonly string[]): void
  flushed?(flush: Flush): void
  /** Somebody else changed our tables, such as `table ip lightpath is gone`. The next sync corrects that. */
  drifted?(what: string): void
  /** Reports at each check whether people have switched the overlay off. */
  overlaySwitched?(isOff: boolean): void
  /** Somebody else's routing rules changed, or may have. */
  foreignRules?(): void
  syncResult?(result: SyncResult): void
  /** Conntrack was searched for stale flows. */
  reconciled?(families: readonly Reconciliation[]): void
  /** Replaces the problems of this origin; an empty list says that all is well. */
  problems?(origin: string, problems: readonly Problem[]): void
}

export interface PortSnapshot {
  /** The port's elements in the kernel, in words, without those that are not written yet. */
  readonly elements: readonly string[]
  /** Something of this port is still to be written. */
  readonly pending: boolean
  /** Why it could not be written. */
  readonly problem: Problem | undefined
}
