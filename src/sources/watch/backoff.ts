/** Says how long to wait after failures: longer each time, up to a limit, and never all nodes of a cluster at once. */

const shortestMs = 200
const usualLongestMs = 30_000

export class Backoff {
  readonly #longestMs: number
  #failures = 0

  constructor(longestMs = usualLongestMs) {
    this.#longestMs = longestMs
  }

  get failures(): number {
    return this.#failures
  }

  /** After a failure: returns the milliseconds to wait, between half and the whole of what doubles each time. */
  next(): number {
    const whole = Math.min(this.#longestMs, shortestMs * 2 ** Math.min(this.#failures++, 20))
    return whole * (0.5 + Math.random() / 2)
  }

  reset(): void {
    this.#failures = 0
  }
}
