/** Knows how old the facts are: how long ago the source said last that they are the cluster's. */

import type { Problem } from '../services/problem.ts'

/** The origin of the problems of reaching the API server (sources/kubernetes.ts). */
const apiOrigin = 'kubernetes'
const unreachable = 'LP105'

export class Freshness {
  readonly #now: () => number
  #seen: number | undefined
  #isCutOff = false

  /** @param now milliseconds since the epoch */
  constructor(now: () => number = Date.now) {
    this.#now = now
  }

  /** The source says something. */
  heard(): void {
    this.#seen = this.#now()
  }

  problems(origin: string, problems: readonly Problem[]): void {
    if (origin !== apiOrigin) return
    const isCutOff = problems.some(({ code }) => code === unreachable)
    if (this.#isCutOff && !isCutOff) this.heard()
    this.#isCutOff = isCutOff
  }

  /** Whether the API server cannot be read. */
  get isCutOff(): boolean {
    return this.#isCutOff
  }

  /** When the source said something last, in milliseconds since the epoch; undefined where it never has. */
  get seen(): number | undefined {
    return this.#seen
  }

  /** 0 while the API server can be read; undefined where nothing is known. */
  get ageMs(): number | undefined {
    if (this.#seen === undefined) return undefined
    return this.#isCutOff ? Math.max(0, this.#now() - this.#seen) : 0
  }
}
