/**
 * Decides when the kernel is asked which connections are silent. It goes through all of the node's connections for that,
 * 8,000 in five milliseconds, and meanwhile nothing else has that core.
 */

/** Where nothing says that any is silent: an endpoint that answers no keepalive shows in nothing else. */
const restMs = 1000

export class SilenceLooks {
  #at = -Infinity
  #timeouts: number | undefined
  #foundSome = false

  /** @param timeouts how many TCP timeouts the node has had (kernel/system/connections/tcptimeouts.ts) */
  isDue(now: number, timeouts: number | undefined): boolean {
    return this.#foundSome || timeouts === undefined || timeouts !== this.#timeouts || now - this.#at >= restMs
  }

  /** @param timeouts read before the kernel was asked */
  looked(now: number, timeouts: number | undefined, foundSome: boolean): void {
    this.#at = now
    this.#timeouts = timeouts
    this.#foundSome = foundSome
  }
}
