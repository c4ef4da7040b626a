/**
 * Looks whether endpoints can be reached that this node's Envoy has trouble with, or that other nodes ask about. It says so
 * to them (controlplane/failures/), and to whoever ends connections (node/endpoints/vanished.ts). An agent that nobody
 * asks, and whose requests do not fail, connects to nothing.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import type { Sight } from '../../facts/failures.ts'
import type { Reached } from './connecting.ts'
import { Looks, type UserOf } from './looks.ts'

export interface ReachabilityOptions {
  readonly userOf: UserOf
  /** Resolves to undefined where this node cannot tell. */
  readonly connect: (endpoint: string) => Promise<Reached | undefined>
  /** Takes all that is seen now, in place of what was. */
  readonly onChange: (sights: readonly Sight[]) => void
  /** From the beginning of one attempt to that of the next. Default: a second. */
  readonly everyMs?: number
}

const usualMs = 1000

export class Reachability {
  readonly #options: ReachabilityOptions
  readonly #looks: Looks
  readonly #followed = new Set<string>()
  readonly #stopping = new AbortController()
  #told: readonly Sight[] = []

  constructor(options: ReachabilityOptions) {
    this.#options = options
    this.#looks = new Looks(options.userOf)
  }

  /** The endpoint gives Envoy or pods no connection, or Envoy has lost one. */
  suspect(endpoint: string): void {
    this.#looks.suspect(endpoint, Date.now())
    this.#followNew()
  }

  /** Other nodes want to know about these, and about others no longer. */
  ask(endpoints: readonly string[]): void {
    this.#looks.ask(endpoints, Date.now())
    this.#followNew()
  }

  /** Whether attempts to connect to it go on. */
  looksAt(endpoint: string): boolean {
    return this.#followed.has(endpoint)
  }

  /** See `Looks`. */
  timesOut(endpoint: string): boolean {
    return this.#looks.timesOut(endpoint)
  }

  stop(): void {
    this.#stopping.abort()
  }

  #followNew(): void {
    for (const endpoint of this.#looks.endpoints()) if (!this.#followed.has(endpoint)) void this.#follow(endpoint)
    this.#tell()
  }

  async #follow(endpoint: string): Promise<void> {
    const { signal } = this.#stopping
    const { connect, everyMs = usualMs } = this.#options
    this.#followed.add(endpoint)
    while (this.#looks.goesOn(endpoint)) {
      const began = performance.now()
      const found = await connect(endpoint)
      if (signal.aborted) return
      this.#looks.found(endpoint, found, Date.now())
      this.#tell()
      // Nodes that were asked at once do not connect at once for ever.
      const rest = everyMs * (0.75 + 0.5 * Math.random()) - (performance.now() - began)
      await sleep(Math.max(0, rest), undefined, { signal }).catch(() => undefined)
      if (signal.aborted) return
    }
    this.#followed.delete(endpoint)
    this.#tell()
  }

  #tell(): void {
    const sights = this.#looks.sights()
    if (isDeepStrictEqual(sights, this.#told)) return
    this.#told = sights
    this.#options.onChange(sights)
  }
}
