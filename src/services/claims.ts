/**
 * Who owns a VIP:port. Kubernetes gives each out once, but manifests and races can claim one twice; then the one that
 * holds it keeps it, so that a bad new object never takes traffic from a Service that works.
 */

export interface Claimant {
  /** Port state id. */
  readonly id: string
  /** When the Service was created, milliseconds since the epoch; the older of two that wait goes first. */
  readonly created: number
}

export class Claims {
  /** Port state ids by VIP:port and protocol. */
  readonly #owners = new Map<string, string>()
  /** Those that wait for one that another owns, in the order in which they get it. */
  readonly #waiting = new Map<string, readonly Claimant[]>()

  owner(key: string): string | undefined {
    return this.#owners.get(key)
  }

  claim(key: string, claimant: Claimant): void {
    const owner = this.#owners.get(key)
    const waiting = this.#waiting.get(key) ?? []
    if (owner === undefined) this.#owners.set(key, claimant.id)
    else if (owner !== claimant.id && !waiting.some(({ id }) => id === claimant.id)) {
      const later = [...waiting, claimant].sort((a, b) => a.created - b.created || (a.id < b.id ? -1 : 1))
      this.#waiting.set(key, later)
    }
  }

  /** Gives up a claim. Returns the id of the one that owns it now because of that, if any. */
  release(key: string, id: string): string | undefined {
    const waiting = this.#waiting.get(key) ?? []
    if (this.#owners.get(key) !== id) {
      const others = waiting.filter(claimant => claimant.id !== id)
      this.#wait(key, others)
      return undefined
    }
    const [next, ...others] = waiting
    if (next) this.#owners.set(key, next.id)
    else this.#owners.delete(key)
    this.#wait(key, others)
    return next?.id
  }

  #wait(key: string, waiting: readonly Claimant[]): void {
    if (waiting.length > 0) this.#waiting.set(key, waiting)
    else this.#waiting.delete(key)
  }
}
