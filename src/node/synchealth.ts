/** Whether the kernel of this node follows what Kubernetes asks for, as kube-proxy answers at /healthz (KEP-3836). */

import type { Round } from '../kernel/layer.ts'
import type { IpFamily } from '../services/address.ts'

/** As kube-proxy: twice its sync period. */
const overdueMs = 60_000

/** Times are by performance.now(). */
export class SyncHealth {
  readonly families: readonly IpFamily[]
  #lastSynced: number | undefined
  /** The oldest change that the kernel does not have, and the newest that there was. */
  #waitingSince: number | undefined
  #lastQueued = Number.NEGATIVE_INFINITY

  constructor(families: readonly IpFamily[]) {
    this.families = families
  }

  /** The kernel is to have something that it has not. */
  queued(at: number): void {
    this.#waitingSince ??= at
    this.#lastQueued = at
  }

  /** A pass over the kernel's rules ended: it has everything that was queued until `upTo`, or lacks something. */
  round({ ok, upTo }: Pick<Round, 'ok' | 'upTo'>, now: number): void {
    if (ok) this.#synced(upTo)
    else this.queued(now)
  }

  /** Undefined before the first time. */
  get lastSynced(): number | undefined {
    return this.#lastSynced
  }

  /** Unlike kube-proxy also before the first time: a node whose rules were never written serves nobody. */
  isHealthy(now: number): boolean {
    return this.#waitingSince === undefined || now - this.#waitingSince < overdueMs
  }

  #synced(upTo: number): void {
    this.#lastSynced = upTo
    this.#waitingSince = this.#lastQueued > upTo ? upTo : undefined
  }
}
