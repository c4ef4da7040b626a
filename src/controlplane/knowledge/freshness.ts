/** Knows how old the facts are: how long ago the source said last that they are the cluster's. */

import type { Problem } from '../../services/problem.ts'

/** The origin of the problems of reaching the API server (sources/kubernetes.ts). */
const apiOrigin = 'kubernetes'
const unreachable = 'LP105'
/** The API server says something every minute, of each kind. */
const quietMs = 90_000

export class Freshness {
  readonly #now: () => number
  #seen: number | undefined
  #isTroubled = false
  #isRestored = false
  #onBack = () => {}

  /** @param now milliseconds since the epoch */
  constructor(now: () => number = Date.now) {
    this.#now = now
  }

  /** Sets who hears that the API server, which could not be read, can be again. */
  onBack(tell: () => void): void {
    this.#onBack = tell
  }

  /** The source says something. */
  heard(): void {
    if (!this.#isRestored) this.#see(this.isCutOff)
  }

  /** The facts are those of a snapshot that is as old. */
  restored(seen: number): void {
    this.#seen = seen
    this.#isRestored = true
  }

  /** The source has reported everything. */
  confirmed(): void {
    const wasCutOff = this.isCutOff
    this.#isRestored = false
    this.#see(wasCutOff)
  }

  problems(origin: string, problems: readonly Problem[]): void {
    if (origin !== apiOrigin) return
    const isTroubled = problems.some(({ code }) => code === unreachable)
    if (this.#isTroubled && !isTroubled) this.heard()
    this.#isTroubled = isTroubled
  }

  #see(wasCutOff: boolean): void {
    this.#seen = this.#now()
    if (wasCutOff) this.#onBack()
  }

  /** Whether the API server cannot be read, or has not been yet. One that denies access to some kinds tells of others. */
  get isCutOff(): boolean {
    return this.#isRestored || (this.ageMs ?? 0) > quietMs
  }

  /** When the source said something last, in milliseconds since the epoch; undefined where it never has. */
  get seen(): number | undefined {
    return this.#seen
  }

  /** 0 while the API server can be read; undefined where nothing is known. */
  get ageMs(): number | undefined {
    if (this.#seen === undefined) return undefined
    return this.#isTroubled || this.#isRestored ? Math.max(0, this.#now() - this.#seen) : 0
  }
}
