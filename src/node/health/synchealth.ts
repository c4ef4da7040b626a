/**
 * Judges whether the kernel of this node follows what Kubernetes asks for, as kube-proxy answers at /healthz
 * (KEP-3836).
 */

import type { SyncResult } from '../../kernel/layer.ts'
import type { IpFamily } from '../../net/address.ts'

/** As kube-proxy: twice its sync period. */
const overdueMs = 60_000

/** The health of one IP family. Times are by performance.now(). */
class FamilyHealth {
  /** Undefined before the first sync. */
  lastSynced: number | undefined
  /** The oldest change that the kernel lacks, and the newest change of all. */
  #waitingSince: number | undefined
  #lastQueued = Number.NEGATIVE_INFINITY

  queued(at: number): void {
    this.#waitingSince ??= at
    this.#lastQueued = at
  }

  synced(syncedThrough: number): void {
    this.lastSynced = syncedThrough
    this.#waitingSince = this.#lastQueued > syncedThrough ? syncedThrough : undefined
  }

  isHealthy(now: number): boolean {
    return this.#waitingSince === undefined || now - this.#waitingSince < overdueMs
  }
}

/** The health of each family by itself; a node is healthy when all are, as with kube-proxy. */
export class SyncHealth {
  readonly #families: ReadonlyMap<IpFamily, FamilyHealth>

  constructor(families: readonly IpFamily[]) {
    this.#families = new Map(families.map(family => [family, new FamilyHealth()]))
  }

  /** The kernel has yet to get something of these families; without an argument, of all. */
  queued(at: number, families: Iterable<IpFamily> = this.#families.keys()): void {
    for (const family of families) this.#families.get(family)?.queued(at)
  }

  /**
   * A sync of the family ended: the kernel has everything that was queued until `syncedThrough`, or lacks something.
   */
  syncResult(family: IpFamily, { ok, syncedThrough }: Pick<SyncResult, 'ok' | 'syncedThrough'>, now: number): void {
    if (ok) this.#families.get(family)?.synced(syncedThrough)
    else this.queued(now, [family])
  }

  /** The time of the family that was synced longest ago; undefined before the first sync of any. */
  get lastSynced(): number | undefined {
    const times = [...this.#families.values()].flatMap(({ lastSynced }) => lastSynced ?? [])
    return times.length === 0 ? undefined : Math.min(...times)
  }

  /** Unlike kube-proxy's, also before the first sync: a node whose rules were never written serves nobody. */
  isHealthy(now: number): boolean {
    return [...this.#families.values()].every(family => family.isHealthy(now))
  }

  /** The status by family; `lastSynced` is undefined before its first sync. */
  status(now: number): ReadonlyMap<IpFamily, { readonly lastSynced: number | undefined; readonly healthy: boolean }> {
    return new Map(
      [...this.#families].map(([family, health]) => [
        family,
        { lastSynced: health.lastSynced, healthy: health.isHealthy(now) },
      ]),
    )
  }
}
