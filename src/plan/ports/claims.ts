/**
 * Decides who owns an address and port, or a node port, that several Services claim. Kubernetes gives VIPs and node
 * ports out once, but manifests, races and external IPs, which any user may write, claim one twice. The order of
 * arrival does not matter, so that every node decides the same, also after a restart:
 *
 * - a VIP goes before a load balancer's IP, and that before an external IP;
 * - of two alike the Service that was created first, and of two of one age the first by namespace/name.
 *
 * So an owner keeps its address from whoever comes later, and gets it back when it comes back.
 */

import { compareText } from '../../text/compare.ts'
import { serviceKeyOf } from './port.ts'

/** By rank: earlier kinds go before later ones. */
export const claimKinds = ['vip', 'node-port', 'load-balancer', 'external'] as const
export type ClaimKind = (typeof claimKinds)[number]

export interface Claim {
  /** Port state id. */
  readonly id: string
  /** The address and port, or node port. One port claims each once. */
  readonly key: string
  readonly kind: ClaimKind
}

interface Claimant {
  readonly id: string
  readonly kind: ClaimKind
  /** When the Service was created, milliseconds since the epoch. */
  readonly created: number
}

export class Claims {
  readonly #owners = new Map<string, Claimant>()
  /** Claimants that another goes before, in the order in which they get the address. */
  readonly #waiting = new Map<string, Claimant[]>()
  /** By namespace/name, how many claims of a Service lose to another. */
  readonly #waitingOf = new Map<string, number>()

  /** Whether something that the Service claims is another's. */
  hasLosses(service: string): boolean {
    return this.#waitingOf.has(service)
  }

  /** Returns the port state that owns it in place of this one, if any. */
  otherOwner(key: string, id: string): string | undefined {
    const owner = this.#owners.get(key)?.id
    return owner === id ? undefined : owner
  }

  /**
   * Replaces what a Service claims. Returns the port states that own something more or less because of that, those of
   * this Service among them.
   *
   * @param createdBefore when the Service of the former claims was created
   */
  replace(
    before: readonly Claim[],
    after: readonly Claim[],
    createdBefore: number,
    created: number,
  ): ReadonlySet<string> {
    const staying = new Set(createdBefore === created ? after.map(textOf) : [])
    const known = new Set(createdBefore === created ? before.map(textOf) : [])
    const affected = new Set<string>()
    const changed = (key: string, change: () => void) => {
      const from = this.#owners.get(key)?.id
      change()
      const to = this.#owners.get(key)?.id
      if (from === to) return
      for (const id of [from, to]) if (id !== undefined) affected.add(id)
    }
    for (const { id, key, kind } of before) {
      if (staying.has(textOf({ id, key, kind }))) continue
      changed(key, () => this.#release(key, { id, kind, created: createdBefore }))
    }
    for (const { id, key, kind } of after) {
      if (known.has(textOf({ id, key, kind }))) continue
      changed(key, () => this.#claim(key, { id, kind, created }))
    }
    return affected
  }

  #claim(key: string, claimant: Claimant): void {
    const owner = this.#owners.get(key)
    if (!owner || compare(claimant, owner) < 0) this.#owners.set(key, claimant)
    const later = !owner || compare(claimant, owner) < 0 ? owner : claimant
    if (!later) return
    const waiting = this.#waiting.get(key) ?? []
    waiting.splice(positionOf(waiting, later), 0, later)
    this.#waiting.set(key, waiting)
    this.#count(later, 1)
  }

  #release(key: string, claimant: Claimant): void {
    const waiting = this.#waiting.get(key) ?? []
    if (compare(this.#owners.get(key)!, claimant) !== 0) {
      waiting.splice(positionOf(waiting, claimant), 1)
      this.#count(claimant, -1)
    } else {
      const next = waiting.shift()
      if (next) this.#owners.set(key, next)
      else this.#owners.delete(key)
      if (next) this.#count(next, -1)
    }
    if (waiting.length === 0) this.#waiting.delete(key)
  }

  #count({ id }: Claimant, by: number): void {
    const service = serviceKeyOf(id)
    const count = (this.#waitingOf.get(service) ?? 0) + by
    if (count === 0) this.#waitingOf.delete(service)
    else this.#waitingOf.set(service, count)
  }
}

function textOf({ id, key, kind }: Claim): string {
  return `${key} ${kind} ${id}`
}

/** Returns the index of a claimant, or where it belongs, in a list that is in order. */
function positionOf(list: readonly Claimant[], claimant: Claimant): number {
  let [low, high] = [0, list.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if (compare(list[middle]!, claimant) < 0) low = middle + 1
    else high = middle
  }
  return low
}

function compare(a: Claimant, b: Claimant): number {
  return (
    claimKinds.indexOf(a.kind) - claimKinds.indexOf(b.kind) ||
    a.created - b.created ||
    compareText(serviceKeyOf(a.id), serviceKeyOf(b.id)) ||
    compareText(a.id, b.id)
  )
}
