/**
 * Limits how often a client is answered: beyond that its answers come later, so that a storm of requests costs next to
 * nothing.
 */

const perSecond = 20
const burst = 40
/** How many clients are remembered; the one that was away for longest is forgotten first. */
const mostClients = 1024

export class Pace {
  readonly #now: () => number
  readonly #clients = new Map<string, { tokens: number; since: number }>()

  /** @param now in milliseconds */
  constructor(now = () => performance.now()) {
    this.#now = now
  }

  /** Returns how long to delay the answer to a request that has just come, in milliseconds. */
  wait(client: string): number {
    const now = this.#now()
    const { tokens, since } = this.#clients.get(client) ?? { tokens: burst, since: now }
    const left = Math.min(burst, tokens + ((now - since) * perSecond) / 1000) - 1
    this.#clients.delete(client)
    this.#clients.set(client, { tokens: left, since: now })
    if (this.#clients.size > mostClients) this.#clients.delete(this.#clients.keys().next().value!)
    return left >= 0 ? 0 : (-left * 1000) / perSecond
  }
}
