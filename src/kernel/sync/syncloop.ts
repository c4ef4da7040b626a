/**
 * Runs the syncs of a kernel layer, one at a time, and reports each to the observer. Changes that arrive during a sync
 * go into the next one together.
 *
 * The first sync installs the fixed part. No sync writes anything about Services before `synced`: what is known at the
 * start is incomplete, and a Service whose endpoints are still to come would be refused. Once `synced`, the loop reads
 * all that the kernel has and compares it; from then on each sync writes what changed. A failed sync loses nothing: the
 * next one installs what is missing, and reads and compares all again.
 */

import type { Problem } from '../../services/problem.ts'
import type { KernelObserver } from '../layer.ts'
import { CommandError, commandProblem } from '../system/command.ts'
import { Worker } from './worker.ts'

/** The steps of a sync. Each rejects where it was not done as a whole. */
export interface SyncJob {
  /**
   * Makes what is missing of the fixed part and of the routing.
   * @param hasDrift what looks whole may not be so
   */
  install(hasDrift: boolean): Promise<void>
  /** Reads what a previous run left in the overlay. Once, after the first installation. */
  inherit(): Promise<void>
  clearOverlay(): Promise<void>
  /** Reads and compares all, and writes what differs. */
  synchronise(): Promise<void>
  hasChanges(): boolean
  writeChanges(): Promise<void>
}

export class SyncLoop {
  readonly #object: string
  readonly #job: SyncJob
  readonly #observer: KernelObserver
  readonly #worker: Worker
  /** How many installations have been asked for, and which of them is done. */
  #asked = 1
  #installed = 0
  #hasDrift = false
  #hasInherited = false
  #clearsOverlay = false
  #isSynced = false
  readonly #written = Promise.withResolvers<void>()
  #isCacheValid = false
  #isReported = false

  /**
   * @param object what problems are of, such as `nftables, IPv6`
   * @param coalesceMs between two syncs, in which changes are gathered
   */
  constructor(object: string, job: SyncJob, observer: KernelObserver, coalesceMs = 2) {
    this.#object = object
    this.#job = job
    this.#observer = observer
    const work = {
      hasWork: () => this.#hasWork,
      step: () => this.#sync(),
      failed: (error: unknown, failures: number) => this.#failed(error, failures),
    }
    this.#worker = new Worker(work, coalesceMs)
  }

  /** Whether the fixed part and the routing are in place. */
  get isInstalled(): boolean {
    return this.#installed === this.#asked
  }

  /** Whether the kernel has what the layer remembers to have written. */
  get isCacheValid(): boolean {
    return this.#isCacheValid
  }

  schedule(isUrgent = true): void {
    this.#worker.schedule(isUrgent)
  }

  /** Resolves when the kernel has all that is desired, or when a sync has failed. */
  synced(): Promise<void> {
    this.#isSynced = true
    this.schedule()
    return this.#written.promise
  }

  /** Installs a fixed part that has changed. */
  reinstall(): void {
    this.#asked++
    this.schedule()
  }

  /** Empties the overlay before anything else is written. */
  clearOverlay(): void {
    this.#clearsOverlay = true
    this.schedule()
  }

  /** Notes drift: the next sync corrects it. */
  drifted(what: string): void {
    // Drift that is known already is being corrected.
    if (!this.isInstalled) return
    this.#observer.drifted?.(what)
    this.#hasDrift = true
    this.reinstall()
  }

  /** Resolves when the first sync is over, well or not. */
  get attempted(): Promise<void> {
    return this.#worker.attempted
  }

  settled(): Promise<void> {
    return this.#worker.settled()
  }

  close(): Promise<void> {
    return this.#worker.close()
  }

  get #hasWork(): boolean {
    if (!this.isInstalled || this.#clearsOverlay) return true
    return this.#isSynced && (!this.#isCacheValid || this.#job.hasChanges())
  }

  async #sync(): Promise<void> {
    const began = performance.now()
    const isFull = !this.#isCacheValid
    try {
      await this.#step()
    } catch (error) {
      this.#tell(began, isFull, false)
      if (this.#isSynced) this.#written.resolve()
      throw error
    }
    this.#report([])
    this.#tell(began, isFull, true)
    if (this.#isCacheValid) this.#written.resolve()
  }

  async #step(): Promise<void> {
    if (!this.isInstalled) await this.#install()
    if (this.#clearsOverlay) await this.#clearOverlay()
    if (!this.#isSynced) return
    if (this.#isCacheValid) return await this.#job.writeChanges()
    await this.#job.synchronise()
    this.#isCacheValid = true
  }

  async #install(): Promise<void> {
    const asked = this.#asked
    if (this.#hasDrift) this.#isCacheValid = false
    await this.#job.install(this.#hasDrift)
    if (!this.#hasInherited && !this.#clearsOverlay) await this.#job.inherit()
    this.#hasInherited = true
    this.#hasDrift = false
    // Another may have been asked for meanwhile.
    this.#installed = asked
  }

  async #clearOverlay(): Promise<void> {
    this.#clearsOverlay = false
    try {
      await this.#job.clearOverlay()
    } catch (error) {
      this.#clearsOverlay = true
      throw error
    }
  }

  /** Changes that came while it ran may be in it or not, unless nothing is left. */
  #tell(began: number, isFull: boolean, ok: boolean): void {
    // Syncs before the synchronisation of the source are not reported.
    if (!this.#isSynced) return
    const now = performance.now()
    const syncedThrough = this.#hasWork ? began : now
    this.#observer.syncResult?.({ ok, isFull, syncedThrough, milliseconds: now - began })
  }

  /** Nothing is known of the kernel any more. */
  #failed(error: unknown, failures: number): void {
    this.#asked++
    this.#isCacheValid = false
    const problem = commandProblem(this.#object, error, 'what the kernel has of it stays as it is; tried again')
    // The first failure is often of something that somebody else removed, which the next try puts back.
    if (failures > 1 || !(error instanceof CommandError) || error.failure !== 'refused') this.#report([problem])
  }

  #report(problems: readonly Problem[]): void {
    if (problems.length === 0 && !this.#isReported) return
    this.#isReported = problems.length > 0
    this.#observer.problems?.('kernel', problems)
  }
}
