/**
 * Looks whether endpoints can be reached that this node's Envoy has trouble with, or that other nodes ask about, and says
 * so to them (controlplane/failures.ts). An agent that nobody asks, and whose requests do not fail, connects to nothing.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import type { Sight } from '../../facts/failures.ts'
import type { Reached } from './connecting.ts'

export interface ReachabilityOptions {
  /** Whether the node's Envoy connects to this endpoint (`hostPort`, TCP), or would were it not excluded. */
  readonly isUsed: (endpoint: string) => boolean
  /** Resolves to undefined where this node cannot tell. */
  readonly connect: (endpoint: string) => Promise<Reached | undefined>
  /** Takes all that is seen now, in place of what was. */
  readonly onChange: (sights: readonly Sight[]) => void
  /** From one attempt to the next. Default: a second. */
  readonly everyMs?: number
}

interface Watched {
  /** Undefined until it is known, where the node does not suspect it itself. */
  sight: Sight | undefined
  /** When it was asked about last, by performance.now(). */
  asked: number
}

const usualMs = 1000
/** As many as a control plane takes of a node. */
const most = 256
/** What fails is looked at for so long after the last question, since an excluded endpoint is used by nobody. */
const rememberMs = 60_000

export class Reachability {
  readonly #options: ReachabilityOptions
  readonly #watched = new Map<string, Watched>()
  readonly #stopping = new AbortController()
  #asked: ReadonlySet<string> = new Set()
  #unused: ReadonlySet<string> = new Set()

  constructor(options: ReachabilityOptions) {
    this.#options = options
  }

  /** Envoy cannot reach the endpoint, or has lost its connection. */
  suspect(endpoint: string): void {
    if (this.#watched.has(endpoint) || !this.#options.isUsed(endpoint)) return
    this.#watch(endpoint, { endpoint, seen: 'suspected', since: Date.now() })
    this.#tell()
  }

  /** Other nodes want to know about these, and about others no longer. */
  ask(endpoints: readonly string[]): void {
    this.#asked = new Set(endpoints.slice(0, most))
    for (const endpoint of this.#asked) {
      const watched = this.#watched.get(endpoint)
      if (watched) watched.asked = performance.now()
    }
    const fresh = new Set([...this.#asked].filter(endpoint => !this.#watched.has(endpoint)))
    const used = new Set([...fresh].filter(endpoint => this.#options.isUsed(endpoint)))
    const unused = new Set([...fresh].filter(endpoint => !used.has(endpoint)))
    const isSame = [...unused].join() === [...this.#unused].join()
    this.#unused = unused
    for (const endpoint of used) this.#watch(endpoint, undefined)
    if (!isSame) this.#tell()
  }

  stop(): void {
    this.#stopping.abort()
  }

  #watch(endpoint: string, sight: Sight | undefined): void {
    if (this.#watched.size >= most) return
    const watched: Watched = { sight, asked: performance.now() }
    this.#watched.set(endpoint, watched)
    void this.#follow(endpoint, watched)
  }

  async #follow(endpoint: string, watched: Watched): Promise<void> {
    const { signal } = this.#stopping
    const { connect, everyMs = usualMs } = this.#options
    while (!signal.aborted) {
      const seen = await connect(endpoint)
      if (signal.aborted) return
      const before = watched.sight
      if (seen !== before?.seen) watched.sight = seen && { endpoint, seen, since: Date.now() }
      const isOver = !this.#asked.has(endpoint) && (seen === undefined || seen === 'answers' || this.#isOld(endpoint))
      if (isOver) this.#watched.delete(endpoint)
      if (isOver || watched.sight !== before) this.#tell()
      if (isOver) return
      // Nodes that were asked at once do not connect at once for ever.
      await sleep(everyMs * (0.75 + 0.5 * Math.random()), undefined, { signal }).catch(() => undefined)
    }
  }

  #isOld(endpoint: string): boolean {
    const isRecent = performance.now() - this.#watched.get(endpoint)!.asked < rememberMs
    return !isRecent && !this.#options.isUsed(endpoint)
  }

  #tell(): void {
    const unused = [...this.#unused].map(endpoint => ({ endpoint, seen: 'not used' as const, since: 0 }))
    const seen = [...this.#watched.values()].map(({ sight }) => sight).filter(sight => sight !== undefined)
    this.#options.onChange([...seen, ...unused])
  }
}
