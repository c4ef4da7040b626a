/** When an API server that was away answers again: asked by one, told to all that wait to ask it something. */

import { setTimeout } from 'node:timers/promises'
import { Backoff } from './backoff.ts'

/** How long at most a server that is back goes unnoticed; asking costs each of them one small request a node. */
const longestPauseMs = 5000
/** Those that waited do not come back all at once: each waits a random part of this. */
const spreadMs = 1000

export class Readiness {
  readonly #isReady: (signal: AbortSignal) => Promise<boolean>
  readonly #waiting = new Set<AbortController>()
  /** A server that was never seen away is not back: what fails there is the request, and waits in full. */
  #wasAway = false
  #isAsking = false

  /** @param isReady asks the server; never throws */
  constructor(isReady: (signal: AbortSignal) => Promise<boolean>) {
    this.#isReady = isReady
  }

  /**
   * After a request that the server did not answer. Waits for so long, or until a server that was seen away is ready.
   *
   * @returns whether the server is back
   */
  async pause(ms: number, signal: AbortSignal): Promise<boolean> {
    const waiter = new AbortController()
    this.#waiting.add(waiter)
    this.#ask(signal)
    await setTimeout(ms, undefined, { signal: AbortSignal.any([signal, waiter.signal]) }).catch(() => {})
    this.#waiting.delete(waiter)
    if (!waiter.signal.aborted || signal.aborted) return false
    await setTimeout(Math.random() * spreadMs, undefined, { signal }).catch(() => {})
    return true
  }

  /** While anybody waits. */
  async #ask(signal: AbortSignal): Promise<void> {
    if (this.#isAsking) return
    this.#isAsking = true
    const backoff = new Backoff(longestPauseMs)
    while (this.#waiting.size > 0 && !signal.aborted) {
      if (await this.#isReady(signal)) {
        if (this.#wasAway) for (const waiter of this.#waiting) waiter.abort()
        this.#wasAway = false
        break
      }
      this.#wasAway = true
      await setTimeout(backoff.next(), undefined, { signal }).catch(() => {})
    }
    this.#isAsking = false
  }
}
