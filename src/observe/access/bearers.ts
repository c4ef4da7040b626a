/**
 * Decides who may read what is behind a nonResourceURL: bearers of a token whose user may get it, by the API server's
 * word (TokenReview, SubjectAccessReview). The answer is kept for a while, and for longer while the API server does not
 * answer.
 */

import { createHash } from 'node:crypto'
import { rawList, rawObject, rawText } from '../../text/raw.ts'
import { Shares } from '../http/shares.ts'

/** Creates an object of the Kubernetes API and returns what the server made of it. Rejects where it does not answer. */
export type Create = (path: string, object: unknown) => Promise<Readonly<Record<string, unknown>>>

export type Verdict =
  /** `node` is the Node that the token is bound to, where it says one (Kubernetes 1.30). */
  | { readonly kind: 'allowed'; readonly node: string | undefined }
  | { readonly kind: 'unauthenticated' }
  | { readonly kind: 'forbidden'; readonly user: string }
  /** Too many are being reviewed already. */
  | { readonly kind: 'busy' }
  /** The API server does not answer. */
  | { readonly kind: 'unknown' }

/** A token that was allowed, for another process: its hash, and the time of the answer in milliseconds since the epoch. */
export interface Remembered {
  readonly hash: string
  readonly node: string | undefined
  readonly at: number
}

interface Known {
  readonly verdict: Verdict
  /** The time of the answer by performance.now(). */
  readonly at: number
}

const allowedMs = 60_000
const refusedMs = 10_000
/** While the API server does not answer: a token that was allowed stays so. */
const staleMs = 3600_000
/** How long to wait for the API server: who asks waits no longer than 10 s. */
const patienceMs = 3000
/** So many refused tokens are remembered, too. */
const usualMostTokens = 256
/** Tokens under review, in all and from one address. Those that were allowed have as many places of their own. */
const usualMostReviews = 8
const mostReviewsPerPeer = 2

export interface Access {
  /** The nonResourceURL. */
  readonly path: string
  /** Whom the token has to be made for; undefined for the API server itself. */
  readonly audience?: string
}

export interface BearersOptions {
  /** How many tokens that are allowed are remembered. Default: 256. */
  readonly mostTokens?: number
  /** How many tokens are under review at once. Default: 8. */
  readonly mostReviews?: number
  readonly now?: () => number
}

export class Bearers {
  readonly #create: Create
  readonly #access: Access
  readonly #now: () => number
  readonly #mostTokens: number
  /** By hash of the token; the one that was longest not asked for comes first. */
  readonly #allowed = new Map<string, Known>()
  /** The same of tokens that are not allowed: whoever invents some displaces no others. */
  readonly #refused = new Map<string, Known>()
  readonly #strangers: Shares
  readonly #acquaintances: Shares

  constructor(create: Create, access: Access, options: BearersOptions = {}) {
    this.#create = create
    this.#access = access
    this.#now = options.now ?? (() => performance.now())
    this.#mostTokens = options.mostTokens ?? usualMostTokens
    const mostReviews = options.mostReviews ?? usualMostReviews
    this.#strangers = new Shares(mostReviews, mostReviewsPerPeer)
    this.#acquaintances = new Shares(mostReviews, mostReviewsPerPeer)
  }

  /** @param peer the address that the token came from */
  async verdict(token: string, peer: string): Promise<Verdict> {
    const key = createHash('sha256').update(token).digest('base64')
    const known = this.#allowed.get(key) ?? this.#refused.get(key)
    const age = known ? this.#now() - known.at : Number.POSITIVE_INFINITY
    if (known && age < (known.verdict.kind === 'allowed' ? allowedMs : refusedMs)) return known.verdict
    const shares = known?.verdict.kind === 'allowed' ? this.#acquaintances : this.#strangers
    if (!shares.take(peer)) return { kind: 'busy' }
    try {
      const verdict = await within(patienceMs, this.#ask(token))
      this.#keep(key, verdict)
      return verdict
    } catch {
      return known?.verdict.kind === 'allowed' && age < staleMs ? known.verdict : { kind: 'unknown' }
    } finally {
      shares.give(peer)
    }
  }

  /** The tokens that are allowed. */
  remembered(): readonly Remembered[] {
    const sinceEpoch = Date.now() - this.#now()
    return [...this.#allowed].flatMap(([hash, { verdict, at }]) =>
      verdict.kind === 'allowed' ? { hash, node: verdict.node, at: Math.round(sinceEpoch + at) } : [],
    )
  }

  /** Allows what another process did, for as long as that would have. */
  recall(remembered: readonly Remembered[]): void {
    const sinceEpoch = Date.now() - this.#now()
    for (const { hash, node, at } of remembered.slice(-this.#mostTokens)) {
      const age = Date.now() - at
      if (age < 0 || age > staleMs || this.#allowed.has(hash)) continue
      this.#allowed.set(hash, { verdict: { kind: 'allowed', node }, at: at - sinceEpoch })
    }
  }

  #keep(key: string, verdict: Verdict): void {
    for (const tokens of [this.#allowed, this.#refused]) tokens.delete(key)
    const isAllowed = verdict.kind === 'allowed'
    const tokens = isAllowed ? this.#allowed : this.#refused
    tokens.set(key, { verdict, at: this.#now() })
    if (tokens.size > (isAllowed ? this.#mostTokens : usualMostTokens)) tokens.delete(tokens.keys().next().value!)
  }

  async #ask(token: string): Promise<Verdict> {
    const { path, audience } = this.#access
    const review = await this.#create('/apis/authentication.k8s.io/v1/tokenreviews', {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenReview',
      spec: { token, ...(audience !== undefined && { audiences: [audience] }) },
    })
    const { authenticated, user, audiences } = rawObject(review.status)
    // A server that does not look at audiences names none: then the token is for itself.
    const isForUs = audience === undefined || rawList(audiences).includes(audience)
    if (authenticated !== true || !isForUs) return { kind: 'unauthenticated' }
    const { username, uid, groups, extra } = rawObject(user)
    const access = await this.#create('/apis/authorization.k8s.io/v1/subjectaccessreviews', {
      apiVersion: 'authorization.k8s.io/v1',
      kind: 'SubjectAccessReview',
      spec: { user: username, uid, groups, extra, nonResourceAttributes: { path, verb: 'get' } },
    })
    if (rawObject(access.status).allowed !== true) return { kind: 'forbidden', user: rawText(username) }
    const [node] = rawList(rawObject(extra)['authentication.kubernetes.io/node-name'])
    return { kind: 'allowed', node: typeof node === 'string' ? node : undefined }
  }
}

async function within<T>(milliseconds: number, promise: Promise<T>): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => reject(new Error(`no answer within ${milliseconds} ms`)), milliseconds)
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}
