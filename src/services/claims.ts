/**
 * Who owns a VIP:port. Kubernetes gives each out once, but manifests and races can claim one twice; then the one that
 * holds it keeps it, so that a bad new object never takes traffic from a Service that works.
 */

import type { Claim } from './families.ts'

interface Claimant {
  /** Port state id. */
  readonly id: string
  /** When the Service was created, milliseconds since the epoch; the older of two that wait goes first. */
  readonly created: number
}

export class Claims {
  /** Port state ids by VIP:port and protocol. */
  readonly #owners = new Map<string, string>()
  /** Those that wait for one that another owns, in the order in which they get it. */
  readonly #waiting = new Map<string, readonly Claimant[]>()

  /** The port state that has the place in place of this one, if any. */
  otherOwner(key: string, id: string): string | undefined {
    const owner = this.#owners.get(key)
    return owner === id ? undefined : owner
  }

  /**
   * What a Service claims, in place of what it claimed. Returns the port states that may have other places because of
   * that: those that waited for one, and those with a place outside where there is or was this Service's VIP.
   *
   * @param created see `Claimant`
   */
  replace(before: readonly Claim[], after: readonly Claim[], created: number): readonly string[] {
    const affected: (string | undefined)[] = []
    const isIn = (list: readonly Claim[], { id, key }: Claim) =>
      list.some(claim => claim.id === id && claim.key === key)
    for (const claim of before) {
      if (isIn(after, claim)) continue
      affected.push(this.#release(claim.key, claim.id))
      if (claim.outsideKey !== undefined) affected.push(this.#owners.get(claim.outsideKey))
    }
    for (const claim of after) {
      this.#claim(claim.key, { id: claim.id, created })
      if (claim.outsideKey !== undefined && !isIn(before, claim)) affected.push(this.#owners.get(claim.outsideKey))
    }
    return affected.filter(id => id !== undefined)
  }

  #claim(key: string, claimant: Claimant): void {
    const owner = this.#owners.get(key)
    const waiting = this.#waiting.get(key) ?? []
    if (owner === undefined) this.#owners.set(key, claimant.id)
    else if (owner !== claimant.id && !waiting.some(({ id }) => id === claimant.id)) {
      const later = [...waiting, claimant].sort((a, b) => a.created - b.created || (a.id < b.id ? -1 : 1))
      this.#waiting.set(key, later)
    }
  }

  /** Gives up a claim. Returns the id of the one that owns it now because of that, if any. */
  #release(key: string, id: string): string | undefined {
    const waiting = this.#waiting.get(key) ?? []
    if (this.#owners.get(key) !== id) {
      const others = waiting.filter(claimant => claimant.id !== id)
      this.#wait(key, others)
      return undefined
    }
    const [next, ...others] = waiting
    if (next) this.#owners.set(key, next.id)
    else this.#owners.delete(key)
    this.#wait(key, others)
    return next?.id
  }

  #wait(key: string, waiting: readonly Claimant[]): void {
    if (waiting.length > 0) this.#waiting.set(key, waiting)
    else this.#waiting.delete(key)
  }
}
