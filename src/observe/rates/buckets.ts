/** Limits how much may be written about each object: so much at once, and more as time passes. */

export interface BucketOptions {
  /** How many times at once. */
  readonly burst: number
  /** After how many milliseconds once more. */
  readonly refillMs: number
}

interface Bucket {
  readonly tokens: number
  readonly since: number
  readonly refused: number
}

/** The objects that were silent for longest are forgotten first. */
const mostObjects = 4096

export class Buckets {
  readonly #options: BucketOptions
  readonly #buckets = new Map<string, Bucket>()

  constructor(options: BucketOptions) {
    this.#options = options
  }

  /** Whether `take` would take it. */
  has(object: string, times = 1): boolean {
    return this.#refilled(object).tokens >= this.#needed(times)
  }

  /**
   * Returns how often something was left out of the object since the last time; undefined where it has to be left out
   * now.
   * @param times at once, all or none; more than the bucket holds count as a full one
   */
  take(object: string, times = 1): number | undefined {
    const { tokens, since, refused } = this.#refilled(object)
    const needed = this.#needed(times)
    const may = tokens >= needed
    this.#buckets.delete(object)
    this.#buckets.set(object, { tokens: may ? tokens - needed : tokens, since, refused: may ? 0 : refused + 1 })
    if (this.#buckets.size > mostObjects) this.#buckets.delete(this.#buckets.keys().next().value!)
    return may ? refused : undefined
  }

  #needed(times: number): number {
    return Math.min(times, this.#options.burst)
  }

  #refilled(object: string): Bucket {
    const { burst, refillMs } = this.#options
    const now = performance.now()
    const { tokens, since, refused } = this.#buckets.get(object) ?? { tokens: burst, since: now, refused: 0 }
    return { tokens: Math.min(burst, tokens + (now - since) / refillMs), since: now, refused }
  }
}
