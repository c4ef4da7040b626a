/** A bounded amount of something, of which no single peer may hold more than its share. */

export class Shares {
  readonly #total: number
  readonly #perPeer: number
  readonly #byPeer = new Map<string, number>()
  #taken = 0

  constructor(total: number, perPeer: number) {
    this.#total = total
    this.#perPeer = perPeer
  }

  /** Takes one for the peer. Returns whether it got it; else nothing is taken. */
  take(peer: string, amount = 1): boolean {
    const own = (this.#byPeer.get(peer) ?? 0) + amount
    if (own > this.#perPeer || this.#taken + amount > this.#total) return false
    this.#byPeer.set(peer, own)
    this.#taken += amount
    return true
  }

  give(peer: string, amount = 1): void {
    const own = (this.#byPeer.get(peer) ?? 0) - amount
    if (own > 0) this.#byPeer.set(peer, own)
    else this.#byPeer.delete(peer)
    this.#taken -= amount
  }
}
