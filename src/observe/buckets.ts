/** Limits how much may be written about each object: so much at once, and more as time passes. */

export interface BucketOptions {
  /** How many times at once. */
  readonly burst: number
  /** After how many milliseconds once more. */
  readonly refillMs: number
}

interface Bucket {
  tokens: number
  since: number
  refused: number
}

/** The objects that were silent for longest are forgotten first. */
const mostObjects = 4096

export class Buckets {
  readonly #options: BucketOptions
  readonly #buckets = new Map<string, Bucket>()

  constructor(options: BucketOptions) {
    this.#options = options
  }

  /**
   * Returns how often something was left out of the object since the last time; undefined where it has to be left out
   * now.
   * @param times at once, all or none; more than the bucket holds count as a full one
   */
  take(object: string, times = 1): number | undefined {
    const { burst, refillMs } = this.#options
    const now = performance.now()
    const { tokens, since, refused } = this.#buckets.get(object) ?? { tokens: burst, since: now, refused: 0 }
    const refilled = Math.min(burst, tokens + (now - since) / refillMs)
    const needed = Math.min(times, burst)
    const may = refilled >= needed
    this.#buckets.delete(object)
    this.#buckets.set(object, {
      tokens: may ? refilled - needed : refilled,
      since: now,
      refused: may ? 0 : refused + 1,
    })
    if (this.#buckets.size > mostObjects) this.#buckets.delete(this.#buckets.keys().next().value!)
    return may ? refused : undefined
  }
}
