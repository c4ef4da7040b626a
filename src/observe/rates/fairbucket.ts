/**
 * Limits how much many may do together, such as all namespaces of a node, without letting those who do much keep out who
 * does little. Half of the bucket is for whoever comes first. Of the other half one has to leave a part that grows with
 * what it has had of late, up to all of it at the mean; beyond the mean it leaves others a bit of the first half, too.
 * One that is alone gets the whole rate.
 */

import type { BucketOptions } from './buckets.ts'

/** The part of the bucket that is not for who has had more than the mean. */
const leftBeyondMean = 5 / 8

export class FairBucket {
  readonly #burst: number
  readonly #refillMs: number
  readonly #now: () => number
  #tokens: number
  #refilledAt: number
  #agedAt: number
  /** What each has had of late. */
  readonly #had = new Map<string, number>()
  #sum = 0

  /** @param now in milliseconds */
  constructor({ burst, refillMs }: BucketOptions, now = () => performance.now()) {
    this.#burst = burst
    this.#refillMs = refillMs
    this.#now = now
    this.#tokens = burst
    this.#refilledAt = now()
    this.#agedAt = this.#refilledAt
  }

  /** Whether `take` would take it. */
  has(who: string, times = 1): boolean {
    this.#passTime()
    return this.#tokens - this.#needed(times) >= this.#leftByThis(who)
  }

  /**
   * Takes it, if there is enough for this one.
   * @param times at once, all or none; more than a quarter of the bucket counts as that
   */
  take(who: string, times = 1): boolean {
    if (!this.has(who, times)) return false
    const needed = this.#needed(times)
    this.#tokens -= needed
    this.#had.set(who, (this.#had.get(who) ?? 0) + needed)
    this.#sum += needed
    return true
  }

  #needed(times: number): number {
    return Math.min(times, this.#burst / 4)
  }

  /** How much this one has to leave in the bucket for others. */
  #leftByThis(who: string): number {
    const had = this.#had.get(who)
    const ofMean = had === undefined ? 0 : (had * this.#had.size) / this.#sum
    return this.#burst * (ofMean > 1 ? leftBeyondMean : ofMean / 2)
  }

  /** What was had counts half after the time in which the bucket fills. */
  #passTime(): void {
    const now = this.#now()
    this.#tokens = Math.min(this.#burst, this.#tokens + (now - this.#refilledAt) / this.#refillMs)
    this.#refilledAt = now
    const halfLifeMs = this.#burst * this.#refillMs
    if (now - this.#agedAt < halfLifeMs) return
    const factor = 0.5 ** Math.floor((now - this.#agedAt) / halfLifeMs)
    this.#agedAt = now
    this.#sum = 0
    for (const [who, had] of this.#had) {
      const left = had * factor
      if (left < 0.5) this.#had.delete(who)
      else this.#had.set(who, left)
      this.#sum += left < 0.5 ? 0 : left
    }
  }
}
