/**
 * What one stream is to be told. It holds names, not what is sent: one response is on its way, and the next is made from
 * what the store has when the agent has acknowledged that. So a slow agent gets the latest of each object, and costs no
 * more than the names of what changed meanwhile. One that has nothing is told first what all such agents are told. No I/O.
 */

import { encodeComplete, encodeFacts } from '../facts/response.ts'
import { everything, type FactType, factTypes, isScope } from '../facts/types.ts'
import { show } from '../text/raw.ts'
import type { Fact, FactStore } from './knowledge/factstore.ts'
import { usualBytes, type Whole } from './knowledge/whole.ts'

/** Scopes of a stream: the Pods of more namespaces are taken all together. */
const mostScopes = 64
/** Names of a type that an agent has and the store has not: so many, and as many as the store has. */
const mostUnknown = 1000
/** Longer than the kind, namespace and name of any object of Kubernetes. */
const longestName = 512

export interface FactsRequest {
  readonly type: FactType
  /** Scopes. */
  readonly subscribe: readonly string[]
  /** Versions by name of what the agent has of these scopes. Only with the first scopes of a type. */
  readonly initialVersions: Readonly<Record<string, string>>
  /** Of the response that is answered; '' where none is. */
  readonly nonce: string
}

interface Subscription {
  /** Each with the version at which the agent was told last that it has all of it. */
  readonly scopes: Map<string, string | undefined>
  readonly pending: Set<string>
  /** What comes before those, and how many responses of it have been sent; undefined where none are left. */
  first: { readonly whole: Whole; readonly sent: number } | undefined
}

export class Subscriber {
  readonly #store: FactStore
  readonly #subscriptions = new Map<FactType, Subscription>()
  /** The type of the last response: the others have their turn before it. */
  #last = factTypes.length - 1
  #nonces = 0
  #outstanding: string | undefined

  constructor(store: FactStore) {
    this.#store = store
  }

  /** Whether a response waits for its acknowledgement. */
  get isWaiting(): boolean {
    return this.#outstanding !== undefined
  }

  /** @throws Error where it asks for what there is not */
  request({ type, subscribe, initialVersions, nonce }: FactsRequest): void {
    if (nonce !== '' && nonce === this.#outstanding) this.#outstanding = undefined
    if (subscribe.length === 0) return
    const subscription = this.#subscriptions.get(type) ?? newSubscription()
    this.#subscriptions.set(type, subscription)
    const before = new Set(subscription.scopes.keys())
    for (const scope of subscribe) {
      if (!isScope(scope)) throw new Error(`${show(scope)} is no scope; facts are told by scopes`)
      if (!before.has(scope)) subscription.scopes.set(scope, undefined)
    }
    if (subscription.scopes.size > mostScopes) throw new Error(`more than ${mostScopes} scopes of one type`)
    if (subscription.scopes.size === before.size) return
    const held = Object.keys(initialVersions)
    if (before.size === 0 && held.length === 0 && subscription.scopes.has(everything)) {
      const whole = this.#store.whole(type)
      if (whole.responses.length > 0) subscription.first = { whole, sent: 0 }
      for (const name of [...whole.rest, ...whole.changed]) subscription.pending.add(name)
      return
    }
    const facts = this.#store.all(type)
    for (const [name, fact] of facts) {
      const isTold = isCovered(fact, before) || !isCovered(fact, subscription.scopes)
      if (!isTold && (fact.version === '' || initialVersions[name] !== fact.version)) subscription.pending.add(name)
    }
    const unknown = held.filter(name => {
      const fact = facts.get(name)
      return !fact || !isCovered(fact, subscription.scopes)
    })
    if (unknown.length > 0 && before.size > 0) throw new Error('versions come with the first scopes of a type')
    if (unknown.length > mostUnknown + facts.size) throw new Error(`${unknown.length} names are unknown here`)
    for (const name of unknown) {
      if (name.length > longestName) throw new Error(`${show(name)} is no name`)
      subscription.pending.add(name)
    }
  }

  changed(type: FactType, name: string, scopes: readonly string[]): void {
    const subscription = this.#subscriptions.get(type)
    if (subscription && scopes.some(scope => subscription.scopes.has(scope))) subscription.pending.add(name)
  }

  /**
   * Returns the next response; undefined where there is nothing to say or one is not acknowledged.
   * @param tellsProgress also where only the version has changed up to which the agent has everything
   */
  next(tellsProgress = false): Buffer | undefined {
    if (this.isWaiting) return undefined
    for (let turn = 1; turn <= factTypes.length; turn++) {
      const index = (this.#last + turn) % factTypes.length
      const type = factTypes[index]!
      const subscription = this.#subscriptions.get(type)
      if (!subscription) continue
      const version = this.#store.version(type)
      const told = [...subscription.scopes.values()]
      const isDue = subscription.first !== undefined || subscription.pending.size > 0 || told.includes(undefined)
      if (!isDue && !(tellsProgress && told.some(before => before !== version))) continue
      this.#last = index
      return subscription.first ? this.#firstResponse(subscription) : this.#response(type, subscription)
    }
    return undefined
  }

  #firstResponse(subscription: Subscription): Buffer {
    const { whole, sent } = subscription.first!
    const { nonce, bytes } = whole.responses[sent]!
    subscription.first = sent + 1 < whole.responses.length ? { whole, sent: sent + 1 } : undefined
    this.#outstanding = nonce
    return bytes
  }

  #response(type: FactType, { scopes, pending }: Subscription): Buffer {
    const facts = this.#store.all(type)
    const resources: Uint8Array[] = []
    const removed: string[] = []
    let bytes = 0
    for (const name of pending) {
      if (bytes >= usualBytes) break
      pending.delete(name)
      const fact = facts.get(name)
      if (fact && isCovered(fact, scopes)) resources.push(fact.field)
      else removed.push(name)
      bytes += fact?.field.length ?? name.length
    }
    if (pending.size === 0) {
      const version = this.#store.version(type)
      for (const [scope, told] of scopes) {
        if (told === version) continue
        resources.push(encodeComplete(scope, version))
        scopes.set(scope, version)
      }
    }
    this.#outstanding = String(++this.#nonces)
    return encodeFacts({ type, nonce: this.#outstanding, resources, removed })
  }
}

function newSubscription(): Subscription {
  return { scopes: new Map(), pending: new Set(), first: undefined }
}

function isCovered({ scopes }: Fact, by: ReadonlySet<string> | ReadonlyMap<string, unknown>): boolean {
  return scopes.some(scope => by.has(scope))
}
