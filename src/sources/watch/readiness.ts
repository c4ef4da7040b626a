/** Finds out when an API server that was away answers again: one asks, and all that wait learn of it. */

import { setTimeout } from 'node:timers/promises'
import { Backoff } from './backoff.ts'

/** How long at most a server's return goes unnoticed; asking costs each server one small request a node. */
const longestPauseMs = 5000
/** The waiting do not come back all at once: each waits a random part of this. */
const spreadMs = 1000

export class Readiness {
  readonly #isReady: (signal: AbortSignal) => Promise<boolean>
  readonly #waiting = new Set<AbortController>()
  /** A server that was never seen away is not back: only the request fails there, and waits in full. */
  #wasAway = false
  #isAsking = false

  /** @param isReady asks the server; never throws */
  constructor(isReady: (signal: AbortSignal) => Promise<boolean>) {
    this.#isReady = isReady
  }

  /**
   * Waits after a request that the server did not answer: for so long, or until a server that was seen away is ready.
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

  /** Asks while anybody waits. */
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
