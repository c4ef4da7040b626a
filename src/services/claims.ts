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
  /** By VIP:port and protocol: the owner first, then those that wait. */
  readonly #claims = new Map<string, Claimant[]>()

  owner(key: string): string | undefined {
    return this.#claims.get(key)?.[0]?.id
  }

  claim(key: string, claimant: Claimant): void {
    const queue = this.#claims.get(key)
    if (!queue) {
      this.#claims.set(key, [claimant])
      return
    }
    if (queue.some(({ id }) => id === claimant.id)) return
    const [owner, ...waiting] = queue
    const later = [...waiting, claimant].sort((a, b) => a.created - b.created || (a.id < b.id ? -1 : 1))
    this.#claims.set(key, [owner!, ...later])
  }

  /** Gives up a claim. Returns the id of the one that owns it now because of that, if any. */
  release(key: string, id: string): string | undefined {
    const queue = this.#claims.get(key)
    const index = queue?.findIndex(claimant => claimant.id === id) ?? -1
    if (!queue || index < 0) return undefined
    queue.splice(index, 1)
    if (queue.length === 0) this.#claims.delete(key)
    return index === 0 ? queue[0]?.id : undefined
  }
}
