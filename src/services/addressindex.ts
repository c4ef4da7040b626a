/** Finds what has an endpoint at an address: the same more than once where several of its slices have the address. */

export class AddressIndex<T> {
  /** A list only for more than one, since there are as many entries as endpoints. */
  readonly #at = new Map<string, T | readonly T[]>()

  get(ip: string): readonly T[] {
    const there = this.#at.get(ip)
    if (there === undefined) return []
    return isList(there) ? there : [there]
  }

  add(ips: Iterable<string>, one: T): void {
    for (const ip of ips) this.#set(ip, [...this.get(ip), one])
  }

  remove(ips: Iterable<string>, one: T): void {
    for (const ip of ips) {
      const there = this.get(ip)
      const at = there.indexOf(one)
      if (at >= 0) this.#set(ip, there.toSpliced(at, 1))
    }
  }

  #set(ip: string, all: readonly T[]): void {
    if (all.length === 0) this.#at.delete(ip)
    else this.#at.set(ip, all.length === 1 ? all[0]! : all)
  }
}

function isList<T>(value: T | readonly T[]): value is readonly T[] {
  return Array.isArray(value)
}
