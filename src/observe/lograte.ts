/**
 * Limits the lines of a log: lines about one object, or about many objects of one tenant, must not fill the disk or
 * rotate away those about others. There is a bucket of lines for each object and message, and one for each message.
 */

const minute = 60e3
/** How many lines at once, and again within a minute. */
const perObject = 20
const perMessage = 1000
/** How many objects are remembered; the one without a line for longest is forgotten first. */
const mostBuckets = 2048

interface Bucket {
  tokens: number
  since: number
  leftOut: number
}

export class LogRate {
  readonly #now: () => number
  readonly #buckets = new Map<string, Bucket>()

  /** @param now in milliseconds */
  constructor(now = () => performance.now()) {
    this.#now = now
  }

  /** Returns undefined if the line is left out, else how many like it were left out since the last that was not. */
  take(message: string, object: string): number | undefined {
    const own = this.#bucket(`${message}\n${object}`, perObject)
    const all = this.#bucket(`${message}\n`, perMessage)
    if (own.tokens < 1 || all.tokens < 1) {
      own.leftOut++
      return undefined
    }
    own.tokens--
    all.tokens--
    const { leftOut } = own
    own.leftOut = 0
    return leftOut
  }

  #bucket(key: string, most: number): Bucket {
    const now = this.#now()
    const bucket = this.#buckets.get(key) ?? { tokens: most, since: now, leftOut: 0 }
    bucket.tokens = Math.min(most, bucket.tokens + ((now - bucket.since) * most) / minute)
    bucket.since = now
    this.#buckets.delete(key)
    this.#buckets.set(key, bucket)
    if (this.#buckets.size > mostBuckets) this.#buckets.delete(this.#buckets.keys().next().value!)
    return bucket
  }
}
