/**
 * Shares a limited number of places. Where all are taken, a newcomer gets one of whoever has most, if that still has as
 * many after: so one tenant with many endpoints in trouble takes no place from those with few.
 */

export class FairPlaces {
  readonly #most: number
  readonly #ownerOf = new Map<string, string>()
  /** What each owner has, in the order in which it came. */
  readonly #byOwner = new Map<string, Set<string>>()

  constructor(most: number) {
    this.#most = most
  }

  has(name: string): boolean {
    return this.#ownerOf.has(name)
  }

  /** @returns whether there is a place for it, and what loses its place for that */
  take(name: string, owner: string): { readonly isTaken: boolean; readonly instead?: string } {
    if (this.has(name)) return { isTaken: true }
    const instead = this.#ownerOf.size < this.#most ? undefined : this.#newestOfGreediest(owner)
    if (instead === undefined && this.#ownerOf.size >= this.#most) return { isTaken: false }
    if (instead !== undefined) this.leave(instead)
    this.#ownerOf.set(name, owner)
    const own = this.#byOwner.get(owner)
    if (own) own.add(name)
    else this.#byOwner.set(owner, new Set([name]))
    return instead === undefined ? { isTaken: true } : { isTaken: true, instead }
  }

  leave(name: string): void {
    const owner = this.#ownerOf.get(name)
    if (owner === undefined) return
    this.#ownerOf.delete(name)
    const own = this.#byOwner.get(owner)!
    own.delete(name)
    if (own.size === 0) this.#byOwner.delete(owner)
  }

  /** Undefined where nobody has so many that one less is still as many as the newcomer's owner has with one more. */
  #newestOfGreediest(owner: string): string | undefined {
    const greediest = [...this.#byOwner.values()].reduce((most, one) => (one.size > most.size ? one : most))
    const wanted = (this.#byOwner.get(owner)?.size ?? 0) + 1
    return greediest.size > wanted ? [...greediest].at(-1) : undefined
  }
}
