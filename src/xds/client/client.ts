/**
 * Decides what one client (an Envoy's stream) gets next, from what it has, as a state machine without I/O: requests and
 * changes of the store go in, `next` gives responses.
 *
 * A name is examined again when something happened that could change what the client gets: `dirty` holds such names,
 * never bytes, so a client that reads slowly costs no memory. Protocol:
 * https://www.envoyproxy.io/docs/envoy/v1.40.0/api-docs/xds_protocol#incremental-xds
 */

import type { ResourceRef, TypeUrl } from '../../envoy/resource.ts'
import type { Response } from '../response.ts'
import type { ResourceStore } from '../store.ts'
import type { ServedType } from '../types.ts'
import { Delivery, type DeliveryOptions } from './delivery.ts'
import type { ClientEvents, Request } from './messages.ts'
import { Answers } from './nack.ts'
import { References } from './references.ts'
import type { TypeState } from './state.ts'
import { Subscription } from './subscription.ts'

export interface ClientOptions extends DeliveryOptions {
  readonly types: readonly ServedType[]
  /**
   * Resources that a client has only while it is active (`setActive`): sent last, and taken from it first. Default
   * none.
   */
  readonly forActive?: readonly ResourceRef[]
}

export class Client {
  readonly #store: ResourceStore
  readonly #events: ClientEvents
  readonly #forActive: readonly ResourceRef[]
  readonly #references: References
  readonly #subscription: Subscription
  readonly #delivery: Delivery
  readonly #answers: Answers
  #settled = false
  #active = false

  constructor(store: ResourceStore, events: ClientEvents, options: ClientOptions) {
    this.#store = store
    this.#events = events
    this.#forActive = options.forActive ?? []
    this.#references = new References(options.types)
    this.#subscription = new Subscription(store, this.#references, events)
    this.#delivery = new Delivery(store, this.#references, options, ref => !this.#active && this.#isForActive(ref))
    this.#answers = new Answers(this.#references, events)
  }

  setActive(active: boolean): void {
    this.#active = active
    this.changed(this.#forActive)
  }

  /** The version that the client has acknowledged and still has. */
  acknowledgedVersion(ref: ResourceRef): string | undefined {
    return this.#references.ackedVersion(ref)
  }

  /** Takes changes of the store. */
  changed(refs: readonly ResourceRef[]): void {
    for (const { typeUrl, name } of refs) {
      const type = this.#references.types.get(typeUrl)
      if (type && (type.wildcard || type.entries.has(name))) type.dirty.add(name)
    }
  }

  request(request: Request): void {
    const type = this.#references.type(request.typeUrl)
    const first = !type.requested
    type.requested = true
    if (request.nonce !== '') this.#answers.take(type, request.nonce, request.error)
    for (const name of request.unsubscribe) this.#subscription.remove(type, name)
    for (const name of request.subscribe) this.#subscription.add(type, name)
    if (first) this.#introduce(type, request)
  }

  #introduce(type: TypeState, { subscribe, initialVersions }: Request): void {
    this.#references.reviewOrphans()
    const listed = Object.entries(initialVersions)
    if (subscribe.length === 0) this.#subscription.add(type, '*')
    if (type.wildcard && listed.length === 0) type.answerDue = true
    if (!this.#active && listed.some(([name]) => this.#isForActive({ typeUrl: type.typeUrl, name }))) {
      this.setActive(true)
      this.#events.active()
    }
    this.#subscription.compare(type, listed)
    if (type.isWaitedForOnce && !this.#references.hasAnswered) this.#subscription.doubt(type, subscribe)
  }

  /** Returns the next response, at most one in flight for each type; undefined where there is nothing to send now. */
  next(): Response | undefined {
    const types = [...this.#references.types.values()]
    const isDue = (type: TypeState) => type.requested && !type.inFlight && (type.dirty.size > 0 || type.answerDue)
    // A finding about one type may concern another that was examined before.
    for (let type = types.find(isDue); type; type = types.find(isDue)) {
      const response = this.#delivery.compose(type)
      if (response) {
        this.#settled = false
        return response
      }
    }
    if (!this.#settled && this.#isSettled()) {
      this.#settled = true
      this.#events.settled()
    }
    return undefined
  }

  #isSettled(): boolean {
    for (const { typeUrl, subscribed, requested, inFlight, dirty } of this.#references.types.values()) {
      if (requested ? inFlight || dirty.size > 0 : subscribed === 'always' || this.#willAskFor(typeUrl)) return false
    }
    return true
  }

  /** Whether the client has everything that makes it ask for some resource of a type: it must be about to do so. */
  #willAskFor(typeUrl: TypeUrl): boolean {
    for (const name of this.#store.names(typeUrl)) {
      const { requires, askedForBy } = this.#store.get(typeUrl, name)!
      const has = (ref: ResourceRef) => this.acknowledgedVersion(ref) !== undefined
      if (askedForBy ? askedForBy.some(has) : requires.every(has)) return true
    }
    return false
  }

  #isForActive({ typeUrl, name }: ResourceRef): boolean {
    return this.#forActive.some(ref => ref.typeUrl === typeUrl && ref.name === name)
  }
}
