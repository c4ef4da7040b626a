/** How much may be said of each object: so much at once, and more as time passes. */

export interface BucketOptions {
  /** How often something may be said at once. */
  readonly burst: number
  /** After how many milliseconds once more. */
  readonly refillMs: number
}

interface Bucket {
  tokens: number
  since: number
  refused: number
}

/** The objects that were longest without a word are forgotten first. */
const mostObjects = 4096

export class Buckets {
  readonly #options: BucketOptions
  readonly #buckets = new Map<string, Bucket>()

  constructor(options: BucketOptions) {
    this.#options = options
  }

  /** How often something may not have been said of the object since it last was; undefined where it may not be said now. */
  take(object: string): number | undefined {
    const { burst, refillMs } = this.#options
    const now = performance.now()
    const { tokens, since, refused } = this.#buckets.get(object) ?? { tokens: burst, since: now, refused: 0 }
    const refilled = Math.min(burst, tokens + (now - since) / refillMs)
    const may = refilled >= 1
    this.#buckets.delete(object)
    this.#buckets.set(object, {
      tokens: may ? refilled - 1 : refilled,
      since: now,
      refused: may ? 0 : refused + 1,
    })
    if (this.#buckets.size > mostObjects) this.#buckets.delete(this.#buckets.keys().next().value!)
    return may ? refused : undefined
  }
}
