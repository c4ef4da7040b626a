/**
 * Holds equal values once. Users write these values and change them as often as they like, so what is held is bounded
 * by length, and not by number alone.
 */

/** In characters. What is longer is not shared: few have the same, and it would be held when it is gone. */
const longestShared = 16_384
/** What an entry takes beside its content, in characters. */
const overhead = 64

export class Sharing<T> {
  readonly #most: number
  readonly #values = new Map<string, T>()
  #length = 0

  /** @param most characters; beyond that it starts afresh, which costs memory only */
  constructor(most: number) {
    this.#most = most
  }

  /** Returns the value that came with this content first. */
  share(content: string, value: T): T {
    if (content.length > longestShared) return value
    const shared = this.#values.get(content)
    if (shared !== undefined) return shared
    if (this.#length >= this.#most) this.clear()
    this.#values.set(content, value)
    this.#length += content.length + overhead
    return value
  }

  /** In characters. */
  get length(): number {
    return this.#length
  }

  clear(): void {
    this.#values.clear()
    this.#length = 0
  }
}
