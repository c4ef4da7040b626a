/**
 * Which endpoints a node looks at, and what it says of them. It looks at those that its Envoy has trouble with or others ask
 * about, as long as its Envoy uses them. No I/O and no clock.
 */

import { isUnreachable } from '../../exclusions/observation.ts'
import type { Sight } from '../../facts/failures.ts'
import { FairPlaces } from '../../observe/rates/fairplaces.ts'
import type { Reached } from './connecting.ts'
import { type Impression, impressionAfter } from './impression.ts'

/**
 * Finds the namespace of a Service for which the node's Envoy connects to an endpoint (`hostPort`, TCP), or would were it
 * not excluded; undefined where there is none.
 */
export type UserOf = (endpoint: string) => string | undefined

interface Look {
  readonly impression: Impression
  /** Since when it is seen so, in milliseconds since the epoch. */
  readonly since: number
}

/** As many as a control plane asks about. */
const most = 256

export class Looks {
  readonly #userOf: UserOf
  readonly #looks = new Map<string, Look>()
  /** A share for each namespace, so that no tenant's endpoints take all. */
  readonly #places = new FairPlaces(most)
  #asked: ReadonlySet<string> = new Set()
  /** Those of the asked ones to which Envoy does not connect. */
  #unused: ReadonlySet<string> = new Set()

  constructor(userOf: UserOf) {
    this.#userOf = userOf
  }

  /** All that is looked at. */
  endpoints(): Iterable<string> {
    return this.#looks.keys()
  }

  suspect(endpoint: string, time: number): void {
    if (!this.#looks.has(endpoint)) this.#begin(endpoint, { seen: 'suspected' }, time)
  }

  /** Others want to know about these, and about no more. What is used may have changed since they asked last. */
  ask(endpoints: readonly string[], time: number): void {
    this.#asked = new Set(endpoints.slice(0, most))
    const fresh = [...this.#asked].filter(endpoint => !this.#looks.has(endpoint))
    this.#unused = new Set(fresh.filter(endpoint => this.#userOf(endpoint) === undefined))
    for (const endpoint of fresh) this.#begin(endpoint, { seen: undefined }, time)
  }

  /** Whether the endpoint is to be looked at again: it is still used. */
  goesOn(endpoint: string): boolean {
    if (!this.#looks.has(endpoint)) return false
    if (this.#userOf(endpoint) !== undefined) return true
    this.#end(endpoint)
    if (this.#asked.has(endpoint)) this.#unused = new Set([...this.#unused, endpoint])
    return false
  }

  /** Whether nothing has come back from the endpoint lately, asked by connections of this node's own. */
  timesOut(endpoint: string): boolean {
    return this.#looks.get(endpoint)?.impression.seen === 'timed out'
  }

  /** An attempt to connect has ended. */
  found(endpoint: string, found: Reached | undefined, time: number): void {
    const look = this.#looks.get(endpoint)
    if (!look) return
    const impression = impressionAfter(look.impression, found)
    const { seen } = impression
    if (!this.#asked.has(endpoint) && seen !== 'suspected' && !isUnreachable(seen)) this.#end(endpoint)
    else this.#looks.set(endpoint, { impression, since: seen === look.impression.seen ? look.since : time })
  }

  sights(): readonly Sight[] {
    const unused = [...this.#unused].map(endpoint => ({ endpoint, seen: 'not used' as const, since: 0 }))
    const seen = [...this.#looks].flatMap(([endpoint, { impression, since }]) => {
      const { seen } = impression
      return seen ? { endpoint, seen, since } : []
    })
    return [...seen, ...unused]
  }

  #begin(endpoint: string, impression: Impression, time: number): void {
    const user = this.#userOf(endpoint)
    const { isTaken = false, instead } = user === undefined ? {} : this.#places.take(endpoint, user)
    if (instead !== undefined) this.#looks.delete(instead)
    if (isTaken) this.#looks.set(endpoint, { impression, since: time })
  }

  #end(endpoint: string): void {
    this.#looks.delete(endpoint)
    this.#places.leave(endpoint)
  }
}
