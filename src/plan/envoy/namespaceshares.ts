/** Counts how many of some ports each namespace has. */

import { namespaceOf } from '../ports/port.ts'

export class NamespaceShares {
  readonly #counts = new Map<string, number>()
  #greatest: { readonly namespace: string; readonly count: number } | undefined

  constructor(ids: readonly string[]) {
    for (const id of ids) this.add(id, 1)
  }

  add(id: string, count: number): void {
    const sum = this.of(id) + count
    if (sum === 0) this.#counts.delete(namespaceOf(id))
    else this.#counts.set(namespaceOf(id), sum)
    this.#greatest = undefined
  }

  of(id: string): number {
    return this.#counts.get(namespaceOf(id)) ?? 0
  }

  get greatest(): { readonly namespace: string; readonly count: number } {
    if (this.#greatest) return this.#greatest
    let greatest = { namespace: '', count: 0 }
    for (const [namespace, count] of this.#counts) if (count > greatest.count) greatest = { namespace, count }
    this.#greatest = greatest
    return greatest
  }
}
