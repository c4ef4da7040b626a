/**
 * Keeps the conditions of Pods as they should be. It compares what should be with what is, so that it does not matter what
 * was written by whom, or missed; while nobody is excluded and nobody was, it does nothing.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import type { Exclusion } from '../../exclusions/exclusion.ts'
import type { Log } from '../../observe/log.ts'
import { Backoff } from '../../sources/watch/backoff.ts'
import type { ReadyEndpoints } from '../failures/readyendpoints.ts'
import type { WriteCondition } from './podcondition.ts'
import { type Wanted, wantedChanges } from './wanted.ts'

export interface ReachabilityOptions {
  readonly ready: ReadyEndpoints
  readonly exclusions: () => readonly Exclusion[]
  /** Whether this replica is the one that writes. */
  readonly isTeller: () => boolean
  readonly write: WriteCondition
  /** See `wantedChanges`. */
  readonly share: number
  readonly log: Log
  readonly times?: Partial<typeof usualTimes>
}

const usualTimes = {
  /** How often what should be is compared with what is. */
  everyMs: 1000,
  /** From one Pod to the next. */
  paceMs: 20,
  /** A replica that has just started has not heard all nodes: so long it takes nothing back. */
  settleMs: 30_000,
  /** A watch tells so soon what was written, or it is written again. */
  heardMs: 5000,
}

/** So many are written until what should be is looked at again. */
const mostAtOnce = 50

/** What was written of a Pod last, or tried. */
interface Attempt {
  readonly isUnreachable: boolean
  readonly backoff: Backoff
  /** By performance.now(). */
  againAt: number
}

export class Reachability {
  readonly #options: ReachabilityOptions
  readonly #times: typeof usualTimes
  readonly #began = performance.now()
  readonly #stopping = new AbortController()
  readonly #ticking: NodeJS.Timeout
  readonly #attempts = new Map<string, Attempt>()
  #work: Promise<void> | undefined

  constructor(options: ReachabilityOptions) {
    this.#options = options
    this.#times = { ...usualTimes, ...options.times }
    this.#ticking = setInterval(() => this.look(), this.#times.everyMs)
  }

  /** Something may have changed. */
  look(): void {
    if (this.#stopping.signal.aborted) return
    this.#work ??= this.#tell().finally(() => {
      this.#work = undefined
    })
  }

  async stop(): Promise<void> {
    clearInterval(this.#ticking)
    this.#stopping.abort()
    await this.#work
  }

  async #tell(): Promise<void> {
    const { ready, exclusions, isTeller, share } = this.#options
    const now = performance.now()
    const recent = [...this.#attempts].filter(([, { againAt }]) => againAt > now)
    const maybeTold = new Set(recent.flatMap(([pod, { isUnreachable }]) => (isUnreachable ? [pod] : [])))
    const wanted = isTeller() ? wantedChanges({ exclusions: exclusions(), ready, maybeTold, share }) : []
    const pods = new Set([...wanted.map(({ pod }) => pod), ...recent.map(([pod]) => pod)])
    for (const pod of this.#attempts.keys()) if (!pods.has(pod)) this.#attempts.delete(pod)
    for (const one of wanted.filter(one => this.#isDue(one, now)).slice(0, mostAtOnce)) {
      await this.#write(one)
      await sleep(this.#times.paceMs, undefined, { signal: this.#stopping.signal }).catch(() => undefined)
      if (this.#stopping.signal.aborted) return
    }
  }

  #isDue({ pod, exclusion }: Wanted, now: number): boolean {
    const isUnreachable = exclusion !== undefined
    if (!isUnreachable && now - this.#began < this.#times.settleMs) return false
    const attempt = this.#attempts.get(pod)
    return attempt?.isUnreachable !== isUnreachable || now >= attempt.againAt
  }

  async #write(wanted: Wanted): Promise<void> {
    const { pod, exclusion } = wanted
    const { write, log } = this.#options
    const { backoff = new Backoff() } = this.#attempts.get(pod) ?? {}
    const attempt = { isUnreachable: exclusion !== undefined, backoff, againAt: Number.POSITIVE_INFINITY }
    this.#attempts.set(pod, attempt)
    try {
      await write(wanted)
      backoff.reset()
      attempt.againAt = performance.now() + this.#times.heardMs
    } catch (error) {
      attempt.againAt = performance.now() + backoff.next()
      if (backoff.failures === 3) log.warn({ pod, error: (error as Error).message }, 'condition of a Pod not written')
    }
  }
}
