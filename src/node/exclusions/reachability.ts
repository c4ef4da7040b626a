/**
 * Looks whether endpoints can be reached that this node's Envoy has trouble with, or that other nodes ask about, and says
 * so to them (controlplane/failures/). An agent that nobody asks, and whose requests do not fail, connects to nothing.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import { isUnreachable } from '../../exclusions/observation.ts'
import type { Sight } from '../../facts/failures.ts'
import type { Reached } from './connecting.ts'
import { type Impression, impressionAfter } from './impression.ts'

export interface ReachabilityOptions {
  /** Whether the node's Envoy connects to this endpoint (`hostPort`, TCP), or would were it not excluded. */
  readonly isUsed: (endpoint: string) => boolean
  /** Resolves to undefined where this node cannot tell. */
  readonly connect: (endpoint: string) => Promise<Reached | undefined>
  /** Takes all that is seen now, in place of what was. */
  readonly onChange: (sights: readonly Sight[]) => void
  /** From the beginning of one attempt to that of the next. Default: a second. */
  readonly everyMs?: number
}

interface Watched extends Impression {
  /** Since when it is seen so, in milliseconds since the epoch. */
  readonly since: number
}

const usualMs = 1000
/** As many as a control plane takes of a node. */
const most = 256

export class Reachability {
  readonly #options: ReachabilityOptions
  readonly #watched = new Map<string, Watched>()
  readonly #stopping = new AbortController()
  #asked: ReadonlySet<string> = new Set()
  /** Those of the asked ones to which Envoy does not connect. */
  #unused: ReadonlySet<string> = new Set()

  constructor(options: ReachabilityOptions) {
    this.#options = options
  }

  /** Envoy cannot reach the endpoint, or has lost its connection. */
  suspect(endpoint: string): void {
    if (this.#watched.has(endpoint) || !this.#options.isUsed(endpoint)) return
    this.#watch(endpoint, 'suspected')
    this.#tell()
  }

  /** Other nodes want to know about these, and about others no longer. What is used may have changed since they asked last. */
  ask(endpoints: readonly string[]): void {
    this.#asked = new Set(endpoints.slice(0, most))
    const before = this.#unused
    const fresh = [...this.#asked].filter(endpoint => !this.#watched.has(endpoint))
    this.#unused = new Set(fresh.filter(endpoint => !this.#options.isUsed(endpoint)))
    for (const endpoint of fresh) if (!this.#unused.has(endpoint)) this.#watch(endpoint, undefined)
    if ([...this.#unused].join() !== [...before].join()) this.#tell()
  }

  stop(): void {
    this.#stopping.abort()
  }

  #watch(endpoint: string, seen: Impression['seen']): void {
    if (this.#watched.size >= most) return
    this.#watched.set(endpoint, { seen, since: Date.now() })
    void this.#follow(endpoint)
  }

  async #follow(endpoint: string): Promise<void> {
    const { signal } = this.#stopping
    const { connect, everyMs = usualMs } = this.#options
    while (this.#options.isUsed(endpoint)) {
      const began = performance.now()
      const found = await connect(endpoint)
      if (signal.aborted) return
      this.#found(endpoint, found)
      if (!this.#matters(endpoint)) break
      // Nodes that were asked at once do not connect at once for ever.
      const rest = everyMs * (0.75 + 0.5 * Math.random()) - (performance.now() - began)
      await sleep(Math.max(0, rest), undefined, { signal }).catch(() => undefined)
      if (signal.aborted) return
    }
    this.#watched.delete(endpoint)
    if (this.#asked.has(endpoint)) this.#unused = new Set([...this.#unused, endpoint])
    this.#tell()
  }

  /** Whether others ask about it, or it fails. */
  #matters(endpoint: string): boolean {
    const { seen } = this.#watched.get(endpoint)!
    return this.#asked.has(endpoint) || seen === 'suspected' || isUnreachable(seen)
  }

  #found(endpoint: string, found: Reached | undefined): void {
    const before = this.#watched.get(endpoint)!
    const impression = impressionAfter(before, found)
    const isSame = impression.seen === before.seen
    this.#watched.set(endpoint, { ...impression, since: isSame ? before.since : Date.now() })
    if (!isSame) this.#tell()
  }

  #tell(): void {
    const unused = [...this.#unused].map(endpoint => ({ endpoint, seen: 'not used' as const, since: 0 }))
    const seen = [...this.#watched].flatMap(([endpoint, { seen, since }]) => (seen ? { endpoint, seen, since } : []))
    this.#options.onChange([...seen, ...unused])
  }
}
