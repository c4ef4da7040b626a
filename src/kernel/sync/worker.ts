/** One step at a time, for as long as there is work; ever slower while steps fail. */

import { setTimeout as delay, setImmediate as turn } from 'node:timers/promises'

export interface Job {
  hasWork(): boolean
  step(): Promise<void>
  /** Called when a step failed, the last `failures` of them in a row; it is tried again. */
  failed(error: unknown, failures: number): void
}

export class Worker {
  readonly #job: Job
  readonly #gatherMs: number
  readonly #closing = new AbortController()
  readonly #attempt = Promise.withResolvers<void>()
  #run: Promise<void> | undefined
  #isUrgent = false
  /** When the last step ended, by performance.now(). */
  #ended = Number.NEGATIVE_INFINITY

  /**
   * @param gatherMs between two steps, in which work is gathered; the first one after a rest begins in the next turn of
   *   the event loop, where its work is urgent
   */
  constructor(job: Job, gatherMs: number) {
    this.#job = job
    this.#gatherMs = gatherMs
  }

  /** There may be work. What is not urgent waits as if a step had just ended. */
  schedule(isUrgent = true): void {
    this.#isUrgent ||= isUrgent
    if (this.#run || this.#closing.signal.aborted) return
    this.#run = this.#work().finally(() => {
      this.#run = undefined
      if (this.#job.hasWork()) this.schedule()
    })
  }

  /** Resolves when the first step has been taken, well or not. */
  get attempted(): Promise<void> {
    return this.#attempt.promise
  }

  /** Resolves when there is no work left. */
  async settled(): Promise<void> {
    while (this.#run) await this.#run
  }

  /** Resolves when the step that is being taken has ended; there are no more. */
  async close(): Promise<void> {
    this.#closing.abort()
    await this.#run
  }

  async #work(): Promise<void> {
    const { signal } = this.#closing
    let failures = 0
    while (this.#job.hasWork() && !signal.aborted) {
      await this.#pause(failures)
      if (signal.aborted) break
      this.#isUrgent = false
      try {
        await this.#job.step()
        failures = 0
      } catch (error) {
        failures++
        this.#job.failed(error, failures)
      }
      this.#ended = performance.now()
      this.#attempt.resolve()
    }
    this.#attempt.resolve()
  }

  async #pause(failures: number): Promise<void> {
    // All that comes in the same turn is known then.
    await turn()
    const now = performance.now()
    const gathersSince = this.#isUrgent ? this.#ended : now
    const left = failures === 0 ? gathersSince + this.#gatherMs - now : backoffMs(failures)
    if (left > 0) await delay(left, undefined, { signal: this.#closing.signal }).catch(() => {})
  }
}

/** 50 ms, doubled up to 10 s. */
export function backoffMs(failures: number): number {
  return Math.min(25 * 2 ** failures, 10e3)
}
