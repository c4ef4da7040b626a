/**
 * Ports that the kernel layer serves for a while, whatever their owners wish, because they are too much work for Envoy.
 */

export class HeldBack {
  readonly #ids = new Set<string>()

  hold(ids: readonly string[]): void {
    for (const id of ids) this.#ids.add(id)
  }

  release(ids: readonly string[]): void {
    for (const id of ids) this.#ids.delete(id)
  }

  /** Why the port waits, in words for a user; undefined for one that is not held back. */
  why(id: string): string | undefined {
    return this.#ids.has(id) ? 'Envoy was short of memory on this node, and this port had most connections' : undefined
  }
}
