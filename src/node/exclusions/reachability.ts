/**
 * Looks whether endpoints can be reached that this node's Envoy has trouble with, or that other nodes ask about, and says
 * so to them (controlplane/failures/). An agent that nobody asks, and whose requests do not fail, connects to nothing.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import { isUnreachable } from '../../exclusions/observation.ts'
import { FairPlaces } from '../../exclusions/places.ts'
import type { Sight } from '../../facts/failures.ts'
import type { Reached } from './connecting.ts'
import { type Impression, impressionAfter } from './impression.ts'

export interface ReachabilityOptions {
  /**
   * The namespace of a Service for which the node's Envoy connects to this endpoint (`hostPort`, TCP), or would were it not
   * excluded; undefined where there is none.
   */
  readonly userOf: (endpoint: string) => string | undefined
  /** Resolves to undefined where this node cannot tell. */
  readonly connect: (endpoint: string) => Promise<Reached | undefined>
  /** Takes all that is seen now, in place of what was. */
  readonly onChange: (sights: readonly Sight[]) => void
  /** From the beginning of one attempt to that of the next. Default: a second. */
  readonly everyMs?: number
}

interface Watched {
  impression: Impression
  /** Since when it is seen so, in milliseconds since the epoch. */
  since: number
}

const usualMs = 1000
/** As many as a control plane takes of a node. */
const most = 256

export class Reachability {
  readonly #options: ReachabilityOptions
  readonly #watched = new Map<string, Watched>()
  /** A share for each namespace, so that no tenant's endpoints take all. */
  readonly #places = new FairPlaces(most)
  readonly #stopping = new AbortController()
  #asked: ReadonlySet<string> = new Set()
  /** Those of the asked ones to which Envoy does not connect. */
  #unused: ReadonlySet<string> = new Set()

  constructor(options: ReachabilityOptions) {
    this.#options = options
  }

  /** Envoy cannot reach the endpoint, or has lost its connection. */
  suspect(endpoint: string): void {
    if (this.#watched.has(endpoint)) return
    if (this.#watch(endpoint, 'suspected')) this.#tell()
  }

  /** Other nodes want to know about these, and about others no longer. What is used may have changed since they asked last. */
  ask(endpoints: readonly string[]): void {
    this.#asked = new Set(endpoints.slice(0, most))
    const before = this.#unused
    const fresh = [...this.#asked].filter(endpoint => !this.#watched.has(endpoint))
    this.#unused = new Set(fresh.filter(endpoint => this.#options.userOf(endpoint) === undefined))
    for (const endpoint of fresh) this.#watch(endpoint, undefined)
    if ([...this.#unused].join() !== [...before].join()) this.#tell()
  }

  stop(): void {
    this.#stopping.abort()
  }

  /** @returns whether it is used, and there is a place for it */
  #watch(endpoint: string, seen: Impression['seen']): boolean {
    const user = this.#options.userOf(endpoint)
    const { isTaken = false, instead } = user === undefined ? {} : this.#places.take(endpoint, user)
    if (!isTaken) return false
    if (instead !== undefined) this.#watched.delete(instead)
    const watched: Watched = { impression: { seen }, since: Date.now() }
    this.#watched.set(endpoint, watched)
    void this.#follow(endpoint, watched)
    return true
  }

  async #follow(endpoint: string, watched: Watched): Promise<void> {
    const { signal } = this.#stopping
    const { connect, everyMs = usualMs } = this.#options
    const isOver = () => signal.aborted || this.#watched.get(endpoint) !== watched
    while (this.#options.userOf(endpoint) !== undefined) {
      const began = performance.now()
      const found = await connect(endpoint)
      if (isOver()) return
      this.#found(watched, found)
      if (!this.#matters(endpoint)) break
      // Nodes that were asked at once do not connect at once for ever.
      const rest = everyMs * (0.75 + 0.5 * Math.random()) - (performance.now() - began)
      await sleep(Math.max(0, rest), undefined, { signal }).catch(() => undefined)
      if (isOver()) return
    }
    this.#watched.delete(endpoint)
    this.#places.leave(endpoint)
    if (this.#asked.has(endpoint)) this.#unused = new Set([...this.#unused, endpoint])
    this.#tell()
  }

  /** Whether others ask about it, or it fails. */
  #matters(endpoint: string): boolean {
    const { seen } = this.#watched.get(endpoint)!.impression
    return this.#asked.has(endpoint) || seen === 'suspected' || isUnreachable(seen)
  }

  #found(watched: Watched, found: Reached | undefined): void {
    const before = watched.impression
    watched.impression = impressionAfter(before, found)
    if (watched.impression.seen === before.seen) return
    watched.since = Date.now()
    this.#tell()
  }

  #tell(): void {
    const unused = [...this.#unused].map(endpoint => ({ endpoint, seen: 'not used' as const, since: 0 }))
    const seen = [...this.#watched].flatMap(([endpoint, { impression, since }]) => {
      const { seen } = impression
      return seen ? { endpoint, seen, since } : []
    })
    this.#options.onChange([...seen, ...unused])
  }
}
