/**
 * Composes the next response of a type. It decides for one resource at a time, by comparing what the store has with
 * what the client has acknowledged (`#decide`).
 */

import type { Resource, ResourceRef } from '../../envoy/resource.ts'
import type { EncodedResource, Response } from '../response.ts'
import type { ResourceStore } from '../store.ts'
import type { References } from './references.ts'
import { type AckedVersion, type Entry, type Item, isWanted, type TypeState } from './state.ts'

export interface DeliveryOptions {
  /**
   * A response ends with the resource that reaches one of these; defaults 1000 and 1 MiB. One with a large resource
   * ends at an eighth of the bytes: until Envoy has answered it, which takes it long, no other resource of that type is
   * sent.
   */
  readonly maxResources?: number
  readonly maxBytes?: number
}

export class Delivery {
  readonly #store: ResourceStore
  readonly #references: References
  readonly #maxResources: number
  readonly #maxBytes: number
  readonly #isHeldBack: (ref: ResourceRef) => boolean
  #responses = 0

  /** @param isHeldBack whether the client must not have a resource now, as if the store did not have it */
  constructor(
    store: ResourceStore,
    references: References,
    { maxResources = 1000, maxBytes = 1 << 20 }: DeliveryOptions,
    isHeldBack: (ref: ResourceRef) => boolean,
  ) {
    this.#store = store
    this.#references = references
    this.#maxResources = maxResources
    this.#maxBytes = maxBytes
    this.#isHeldBack = isHeldBack
  }

  /** Returns undefined where there is nothing to send of that type. */
  compose(type: TypeState): Response | undefined {
    const { bisectionQueue } = type
    for (let group = bisectionQueue.shift(); group; group = bisectionQueue.shift()) {
      const response = this.#fill(type, group)
      if (response) return response
    }
    return this.#fill(type, this.#smallFirst(type))
  }

  *#smallFirst({ typeUrl, dirty }: TypeState): Generator<string> {
    const isLarge = (name: string) => this.#store.get(typeUrl, name)?.isLarge ?? false
    for (const name of dirty) if (!isLarge(name)) yield name
    for (const name of dirty) if (isLarge(name)) yield name
  }

  #fill(type: TypeState, names: Iterable<string>): Response | undefined {
    const items: Item[] = []
    const put: EncodedResource[] = []
    const remove: string[] = []
    let bytes = 0
    let maxBytes = this.#maxBytes
    const maxResources = type.isWaitedForOnce ? 1 : this.#maxResources
    for (const name of names) {
      if (items.length >= maxResources || bytes >= maxBytes) break
      const entry = this.#references.entry(type.typeUrl, name)
      const action = this.#decide(type, entry)
      // Removals go alone: Envoy forgets what it did for a rejected response, and after a reconnect would list them as
      // there.
      if (action && (action === 'remove' ? put : remove).length > 0) break
      if (action === 'remove') {
        remove.push(name)
        bytes += name.length
      } else if (action) {
        const encoded = action.encode()
        put.push({ resource: action, bytes: encoded })
        if (action.isLarge) maxBytes = this.#maxBytes / 8
        bytes += encoded.length + name.length
      }
      type.dirty.delete(name)
      if (action) items.push(this.#send(entry, action === 'remove' ? undefined : action))
      else if (!this.#store.get(entry.typeUrl, entry.name)) this.#references.dropIfUnused(entry)
    }
    if (items.length === 0 && !type.answerDue) return undefined
    type.answerDue = false
    const nonce = String(++this.#responses)
    type.inFlight = { nonce, items }
    return { typeUrl: type.typeUrl, nonce, put, remove }
  }

  #decide(type: TypeState, entry: Entry): Resource | 'remove' | undefined {
    if (!isWanted(type, entry)) return undefined
    const references = this.#references
    const stored = this.#isHeldBack(entry) ? undefined : this.#store.get(entry.typeUrl, entry.name)
    // A client that waits learns that there is none, also of what it rejected: otherwise it would wait for its
    // time-out.
    const mayGo = () => !type.keptByClient && entry.acked && references.isFree(type, entry)
    if (entry.maybeRejected || (entry.comesAgain && entry.acked)) return 'remove'
    if (!stored) return entry.mustRespond || mayGo() ? 'remove' : undefined
    if (stored.version === entry.rejected) return entry.mustRespond ? 'remove' : undefined
    if (stored.version === entry.acked?.version) {
      // The same bytes may require something else now, or are known for sure only now.
      if (entry.acked !== stored) references.learn(entry, stored)
      if (!entry.mustRespond && !entry.resendAfterNack) return undefined
    }
    const missing = references.missing(stored)
    if (!missing) return stored
    references.block(entry, missing)
    // What will not come by itself must not hold the removals of others.
    if (missing.rejected !== undefined || !this.#store.get(missing.typeUrl, missing.name)) {
      references.assume(entry, stored)
    }
    return undefined
  }

  /** @param version undefined for a removal */
  #send(entry: Entry, version: AckedVersion | undefined): Item {
    const item = { entry, version, mustRespond: entry.mustRespond }
    entry.sending = item
    entry.mustRespond = false
    entry.resendAfterNack = false
    entry.maybeRejected = false
    entry.comesAgain = false
    if (version) {
      this.#references.retain(version)
      this.#askForCompletion(entry)
    }
    return item
  }

  #askForCompletion({ typeUrl, name }: Entry): void {
    for (const type of this.#references.types.values()) {
      const entry = type.completes === typeUrl ? type.entries.get(name) : undefined
      if (!entry || !isWanted(type, entry)) continue
      entry.mustRespond = true
      type.dirty.add(name)
    }
  }
}
