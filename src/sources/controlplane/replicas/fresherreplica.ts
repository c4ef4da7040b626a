/**
 * Looks for a replica that can read the API server, while the one that serves this agent cannot. That one serves on until
 * then: facts that are old are better than none, and where all replicas are cut off, agents stay where they are.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import type { FactsFreshness } from '../../../facts/freshness.ts'
import type { FactsStream, StreamListener } from '../stream.ts'
import type { Replica } from './addresses.ts'

export interface FresherOptions {
  readonly find: () => Promise<readonly Replica[]>
  readonly open: (replica: Replica, listener: StreamListener) => Promise<FactsStream>
  /** Since when the replica that serves is cut off; undefined where it is not. */
  readonly cutOff: (since: { readonly replica: Replica; readonly seen: number } | undefined) => void
  /** The first look is within this time, and another after as long to twice as long. */
  readonly everyMs: number
}

/** How long a replica may take to say how old its facts are. */
const answerMs = 5000

export class FresherReplica {
  readonly #options: FresherOptions
  #search: AbortController | undefined
  #searching: Promise<void> | undefined
  /** The address of the one that was found. */
  #found: string | undefined

  constructor(options: FresherOptions) {
    this.#options = options
  }

  /**
   * The replica that serves says how old its facts are.
   * @param leave called when another one can read the API server
   */
  heard(replica: Replica, { seen, isCutOff }: FactsFreshness, leave: () => void): void {
    this.ended()
    if (!isCutOff) return
    this.#options.cutOff({ replica, seen })
    this.#search = new AbortController()
    this.#searching = this.#run(replica, this.#search.signal, leave)
  }

  /** The replica serves no more. */
  ended(): void {
    if (!this.#search) return
    this.#search.abort()
    this.#search = undefined
    this.#options.cutOff(undefined)
  }

  async stop(): Promise<void> {
    this.#search?.abort()
    await this.#searching
  }

  /** The replica that was found last comes first, once. */
  ordered(replicas: readonly Replica[]): readonly Replica[] {
    const first = replicas.filter(({ address }) => address === this.#found)
    this.#found = undefined
    return [...new Set([...first, ...replicas])]
  }

  async #run(current: Replica, signal: AbortSignal, leave: () => void): Promise<void> {
    const { find, everyMs } = this.#options
    let pauseMs = everyMs * Math.random()
    while (!signal.aborted) {
      await sleep(pauseMs, undefined, { signal }).catch(() => undefined)
      for (const replica of await find().catch(() => [])) {
        if (replica.address === current.address) continue
        const isFresh = !signal.aborted && (await this.#canRead(replica, signal))
        if (!isFresh || signal.aborted) continue
        this.#found = replica.address
        return leave()
      }
      pauseMs = everyMs * (1 + Math.random())
    }
  }

  async #canRead(replica: Replica, signal: AbortSignal): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>()
    const limit = AbortSignal.any([signal, AbortSignal.timeout(answerMs)])
    const giveUp = () => resolve(false)
    limit.addEventListener('abort', giveUp)
    try {
      const stream = await this.#options.open(replica, {
        accepted: () => undefined,
        told: () => undefined,
        fresh: ({ isCutOff }) => resolve(!isCutOff),
        ended: giveUp,
      })
      const isFresh = await promise
      stream.close('it has said how old its facts are')
      return isFresh
    } catch {
      return false
    } finally {
      limit.removeEventListener('abort', giveUp)
    }
  }
}
