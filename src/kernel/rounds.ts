/**
 * The life cycle of a kernel layer, in rounds: one at a time, each told to the observer; what comes meanwhile goes together
 * into the next.
 *
 * First the fixed part is installed. Nothing about Services is written before `synced`: half of what is known at the start
 * (a Service whose endpoints have not been told yet) would turn a working Service into one that is refused. Then what the
 * kernel has is read once and compared, and after that each round writes what changed. A round that fails is no reason to
 * lose anything: the next one installs what is missing, and reads and compares all.
 */

import type { Problem } from '../services/problem.ts'
import type { KernelObserver } from './layer.ts'
import { CommandError, commandProblem } from './system/command.ts'
import { Worker } from './worker.ts'

/** What one kernel layer does in a round. Each rejects where it was not done as a whole. */
export interface RoundJob {
  /**
   * Makes what is missing of the fixed part and of the routing.
   * @param isDamaged what looks whole may not be so
   */
  install(isDamaged: boolean): Promise<void>
  /** Reads what a previous run left in the overlay. Once, after the first installation. */
  inherit(): Promise<void>
  clearOverlay(): Promise<void>
  /** Reads and compares all, and writes what differs. */
  synchronise(): Promise<void>
  hasChanges(): boolean
  writeChanges(): Promise<void>
}

export class Rounds {
  readonly #object: string
  readonly #job: RoundJob
  readonly #observer: KernelObserver
  readonly #worker: Worker
  /** How many installations have been asked for, and which of them is done. */
  #asked = 1
  #installed = 0
  #isDamaged = false
  #hasInherited = false
  #clearsOverlay = false
  #isSynced = false
  #isMirrored = false
  #isReported = false

  /**
   * @param object what problems are of, such as `nftables, IPv6`
   * @param coalesceMs between two rounds, in which changes are gathered
   */
  constructor(object: string, job: RoundJob, observer: KernelObserver, coalesceMs = 2) {
    this.#object = object
    this.#job = job
    this.#observer = observer
    const work = {
      hasWork: () => this.#hasWork,
      step: () => this.#round(),
      failed: (error: unknown, failures: number) => this.#failed(error, failures),
    }
    this.#worker = new Worker(work, coalesceMs)
  }

  /** The fixed part and the routing are in place. */
  get isInstalled(): boolean {
    return this.#installed === this.#asked
  }

  /** What the layer remembers to have written is what the kernel has. */
  get isMirrored(): boolean {
    return this.#isMirrored
  }

  schedule(): void {
    this.#worker.schedule()
  }

  synced(): void {
    this.#isSynced = true
    this.schedule()
  }

  /** The fixed part shall be another. */
  reinstall(): void {
    this.#asked++
    this.schedule()
  }

  /** Before all else that is to be written. */
  clearOverlay(): void {
    this.#clearsOverlay = true
    this.schedule()
  }

  /** Somebody else changed something: all is written anew where it is not as it should be. */
  damaged(what: string): void {
    // Where something is known to be wrong already, it is being mended.
    if (!this.isInstalled) return
    this.#observer.damaged?.(what)
    this.#isDamaged = true
    this.reinstall()
  }

  /** Resolves when the first round is over, well or not. */
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
    return this.#isSynced && (!this.#isMirrored || this.#job.hasChanges())
  }

  async #round(): Promise<void> {
    const began = performance.now()
    const isFull = !this.#isMirrored
    try {
      await this.#step()
    } catch (error) {
      this.#tell(began, isFull, false)
      throw error
    }
    this.#report([])
    this.#tell(began, isFull, true)
  }

  async #step(): Promise<void> {
    if (!this.isInstalled) await this.#install()
    if (this.#clearsOverlay) await this.#clearOverlay()
    if (!this.#isSynced) return
    if (this.#isMirrored) return await this.#job.writeChanges()
    await this.#job.synchronise()
    this.#isMirrored = true
  }

  async #install(): Promise<void> {
    const asked = this.#asked
    if (this.#isDamaged) this.#isMirrored = false
    await this.#job.install(this.#isDamaged)
    if (!this.#hasInherited && !this.#clearsOverlay) await this.#job.inherit()
    this.#hasInherited = true
    this.#isDamaged = false
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

  /** What came while it ran may be in it or not, unless nothing is left. */
  #tell(began: number, isFull: boolean, ok: boolean): void {
    // Rounds before the synchronisation of the source are not told.
    if (!this.#isSynced) return
    const now = performance.now()
    const upTo = this.#hasWork ? began : now
    this.#observer.round?.({ ok, isFull, upTo, milliseconds: now - began })
  }

  /** Nothing is known of the kernel any more. */
  #failed(error: unknown, failures: number): void {
    this.#asked++
    this.#isMirrored = false
    const problem = commandProblem(this.#object, error, 'what the kernel has of it stays as it is; tried again')
    // The first failure is often of something that somebody else removed, which the next try mends.
    if (failures > 1 || !(error instanceof CommandError) || error.failure !== 'refused') this.#report([problem])
  }

  #report(problems: readonly Problem[]): void {
    if (problems.length === 0 && !this.#isReported) return
    this.#isReported = problems.length > 0
    this.#observer.problems?.('kernel', problems)
  }
}
