/**
 * Limits the lines of a log: lines about one object, or about many objects of one tenant, must not fill the disk or
 * rotate away those about others. There is a bucket of lines for each object and message, and one for each message, of
 * which each namespace has a fair share.
 */

import { namespaceIn } from '../../services/objects/objects.ts'
import { FairBucket } from './fairbucket.ts'

const minute = 60e3
/** How many lines at once, and again within a minute. */
const perObject = 20
const perMessage = 1000
/** How many objects and messages are remembered; the one without a line for longest is forgotten first. */
const mostBuckets = 2048

interface Bucket {
  tokens: number
  since: number
  leftOut: number
}

export class LogRate {
  readonly #now: () => number
  readonly #objects = new Map<string, Bucket>()
  readonly #messages = new Map<string, FairBucket>()

  /** @param now in milliseconds */
  constructor(now = () => performance.now()) {
    this.#now = now
  }

  /**
   * Returns undefined if the line is left out, else how many like it were left out since the last that was not.
   * @param object such as `Service shop/web`
   */
  take(message: string, object: string): number | undefined {
    const own = this.#ofObject(`${message}\n${object}`)
    // What has no namespace is one more sharer.
    if (own.tokens < 1 || !this.#ofMessage(message).take(namespaceIn(object))) {
      own.leftOut++
      return undefined
    }
    own.tokens--
    const { leftOut } = own
    own.leftOut = 0
    return leftOut
  }

  #ofObject(key: string): Bucket {
    const now = this.#now()
    const bucket = this.#objects.get(key) ?? { tokens: perObject, since: now, leftOut: 0 }
    bucket.tokens = Math.min(perObject, bucket.tokens + ((now - bucket.since) * perObject) / minute)
    bucket.since = now
    putLast(this.#objects, key, bucket)
    return bucket
  }

  #ofMessage(message: string): FairBucket {
    const options = { burst: perMessage, refillMs: minute / perMessage }
    const bucket = this.#messages.get(message) ?? new FairBucket(options, this.#now)
    putLast(this.#messages, message, bucket)
    return bucket
  }
}

function putLast<T>(buckets: Map<string, T>, key: string, bucket: T): void {
  buckets.delete(key)
  buckets.set(key, bucket)
  if (buckets.size > mostBuckets) buckets.delete(buckets.keys().next().value!)
}
