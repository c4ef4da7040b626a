/**
 * Ports that the kernel layer serves for a while, whatever their owners wish, because they are too much work for Envoy.
 */

/** What an Envoy has too little of. */
export type Shortage = 'memory' | 'room for connections'

export class HeldBack {
  readonly #held = new Map<string, Shortage>()

  hold(ids: readonly string[], shortage: Shortage): void {
    for (const id of ids) this.#held.set(id, shortage)
  }

  release(ids: readonly string[]): void {
    for (const id of ids) this.#held.delete(id)
  }

  has(id: string): boolean {
    return this.#held.has(id)
  }

  /** Why the port waits, in words for a user; undefined for one that is not held back. */
  why(id: string): string | undefined {
    const shortage = this.#held.get(id)
    return shortage && `Envoy was short of ${shortage} on this node, and this port had most connections`
  }
}
