/** The rounds in which a kernel layer writes: one at a time, each told to the observer; and how the layer as a whole fares. */

import type { Problem } from '../services/problem.ts'
import { CommandError, commandProblem } from './command.ts'
import type { KernelObserver, Redirect } from './layer.ts'
import { Worker } from './worker.ts'

/** What a kernel layer has to write. */
export interface RoundJob {
  hasWork(): boolean
  /** Whether the next round reads and compares all. */
  isFull(): boolean
  /** Rounds before the synchronisation of the source are not told. */
  isSynced(): boolean
  step(): Promise<void>
  /** The step was not taken whole: nothing is known of the kernel any more. */
  failed(): void
}

export class Rounds {
  readonly #redirect: Redirect
  readonly #job: RoundJob
  readonly #observer: KernelObserver
  readonly #worker: Worker
  #isReported = false

  /** @param coalesceMs how long changes are gathered before a round */
  constructor(redirect: Redirect, job: RoundJob, observer: KernelObserver, coalesceMs = 2) {
    this.#redirect = redirect
    this.#job = job
    this.#observer = observer
    const work = {
      hasWork: () => job.hasWork(),
      step: () => this.#round(),
      failed: (error: unknown, failures: number) => this.#failed(error, failures),
    }
    this.#worker = new Worker(work, coalesceMs)
  }

  schedule(): void {
    this.#worker.schedule()
  }

  get attempted(): Promise<void> {
    return this.#worker.attempted
  }

  settled(): Promise<void> {
    return this.#worker.settled()
  }

  close(): Promise<void> {
    return this.#worker.close()
  }

  async #round(): Promise<void> {
    const began = performance.now()
    const isFull = this.#job.isFull()
    try {
      await this.#job.step()
    } catch (error) {
      this.#tell(began, isFull, false)
      throw error
    }
    this.#report([])
    this.#tell(began, isFull, true)
  }

  /** What came while it ran may be in it or not, unless nothing is left. */
  #tell(began: number, isFull: boolean, ok: boolean): void {
    if (!this.#job.isSynced()) return
    const now = performance.now()
    const upTo = this.#job.hasWork() ? began : now
    this.#observer.round?.({ ok, isFull, upTo, milliseconds: now - began })
  }

  #failed(error: unknown, failures: number): void {
    this.#job.failed()
    const problem = commandProblem(this.#redirect, error, 'traffic flows as before; tried again')
    // The first failure is often of something that somebody else removed, which the next try mends.
    if (failures > 1 || !(error instanceof CommandError) || error.failure !== 'refused') this.#report([problem])
  }

  #report(problems: readonly Problem[]): void {
    if (problems.length === 0 && !this.#isReported) return
    this.#isReported = problems.length > 0
    this.#observer.problems?.('kernel', problems)
  }
}
