/** Limits what each namespace may do, and what all of them may do together, of which each has a fair share. */

import { type BucketOptions, Buckets } from './buckets.ts'
import { FairBucket } from './fairbucket.ts'

/** All namespaces together may do so many times as much as one. */
const namespaces = 4

export class NamespaceLimit {
  readonly #each: Buckets
  readonly #all: FairBucket

  /** @param each of one namespace */
  constructor(each: BucketOptions) {
    const { burst, refillMs } = each
    this.#each = new Buckets(each)
    this.#all = new FairBucket({ burst: burst * namespaces, refillMs: refillMs / namespaces })
  }

  /** Whether `take` would take it. */
  has(namespace: string, times = 1): boolean {
    return this.#each.has(namespace, times) && this.#all.has(namespace, times)
  }

  /** @param times all or none; see `Buckets.take` */
  take(namespace: string, times = 1): boolean {
    if (!this.has(namespace, times)) return false
    this.#all.take(namespace, times)
    this.#each.take(namespace, times)
    return true
  }
}
