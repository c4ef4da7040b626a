/** Lists by key, most of which have one item: that one is held without a list, since there are very many of them. */

export class ShortLists<T> {
  readonly #at = new Map<string, T | readonly T[]>()

  has(key: string): boolean {
    return this.#at.has(key)
  }

  get(key: string): readonly T[] {
    const there = this.#at.get(key)
    if (there === undefined) return []
    return isList(there) ? there : [there]
  }

  /** An empty list is none. */
  set(key: string, all: readonly T[]): void {
    if (all.length === 0) this.#at.delete(key)
    else this.#at.set(key, all.length === 1 ? all[0]! : all)
  }
}

function isList<T>(value: T | readonly T[]): value is readonly T[] {
  return Array.isArray(value)
}
