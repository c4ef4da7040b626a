/** Finds what has an endpoint at an address: the same more than once where several of its slices have the address. */

import { ShortLists } from './shortlists.ts'

export class AddressIndex<T> {
  readonly #at = new ShortLists<T>()

  get(ip: string): readonly T[] {
    return this.#at.get(ip)
  }

  add(ips: Iterable<string>, one: T): void {
    for (const ip of ips) this.#at.set(ip, [...this.get(ip), one])
  }

  remove(ips: Iterable<string>, one: T): void {
    for (const ip of ips) {
      const there = this.get(ip)
      const at = there.indexOf(one)
      if (at >= 0) this.#at.set(ip, there.toSpliced(at, 1))
    }
  }
}
