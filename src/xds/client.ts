/**
 * What one client (an Envoy's stream) has and what it is to be told next, as a state machine without I/O: requests and
 * changes of the store go in, `next` gives responses.
 *
 * Everything is decided for one resource at a time by comparing what the store has with what the client has
 * acknowledged (`#decide`). A name is looked at again when something happened that could change the answer: `dirty`
 * holds such names, never bytes, so a client that reads slowly costs no memory. Protocol:
 * https://www.envoyproxy.io/docs/envoy/v1.40.0/api-docs/xds_protocol#incremental-xds
 */

import type { Resource, ResourceRef, TypeUrl } from '../envoy/resource.ts'
import type { ClientEvents, Request, VersionedRef } from './messages.ts'
import { readRefusal } from './refusal.ts'
import type { EncodedResource, Response } from './response.ts'
import { type Entry, type Facts, type Item, isWanted, newEntry, newTypeState, type TypeState } from './state.ts'
import type { ResourceStore } from './store.ts'
import type { ServedType } from './types.ts'

export type { Refusal, VersionedRef } from './messages.ts'

export interface ClientOptions {
  readonly types: readonly ServedType[]
  /**
   * A response ends with the resource that reaches one of these; defaults 1000 and 1 MiB. One with a large resource ends
   * at an eighth of the bytes: until Envoy has answered it, which takes it long, nobody else's of that type is sent.
   */
  readonly maxResources?: number
  readonly maxBytes?: number
  /** What a client has only while it is admitted (`setAdmitted`): told last, and taken from it first. Default none. */
  readonly forAdmitted?: readonly ResourceRef[]
}

export class Client {
  readonly #store: ResourceStore
  readonly #events: ClientEvents
  readonly #maxResources: number
  readonly #maxBytes: number
  readonly #forAdmitted: readonly ResourceRef[]
  /** In the order of `ServedType`s. */
  readonly #types: ReadonlyMap<TypeUrl, TypeState>
  /** What is to be removed once it is sure that nothing that the client has requires it. */
  readonly #orphans = new Set<Entry>()
  #responses = 0
  /** The client has answered a response: all that it had to say when it connected came before that. */
  #hasAnswered = false
  #settled = false
  #admitted = false

  constructor(store: ResourceStore, events: ClientEvents, options: ClientOptions) {
    this.#store = store
    this.#events = events
    const types = options.types.map(newTypeState)
    for (const [index, type] of types.entries()) type.later = types.slice(index + 1)
    this.#types = new Map(types.map(type => [type.typeUrl, type]))
    this.#maxResources = options.maxResources ?? 1000
    this.#maxBytes = options.maxBytes ?? 1 << 20
    this.#forAdmitted = options.forAdmitted ?? []
  }

  setAdmitted(admitted: boolean): void {
    this.#admitted = admitted
    this.changed(this.#forAdmitted)
  }

  /** The version that the client has acknowledged and still has. */
  acknowledgedVersion({ typeUrl, name }: ResourceRef): string | undefined {
    return this.#types.get(typeUrl)?.entries.get(name)?.known?.version
  }

  /** The store has changed these. */
  changed(refs: readonly ResourceRef[]): void {
    for (const { typeUrl, name } of refs) {
      const type = this.#types.get(typeUrl)
      if (type && (type.wildcard || type.entries.has(name))) type.dirty.add(name)
    }
  }

  request(request: Request): void {
    const type = this.#type(request.typeUrl)
    const first = !type.requested
    type.requested = true
    if (request.nonce !== '') this.#answered(type, request.nonce, request.error)
    for (const name of request.unsubscribe) this.#unsubscribe(type, name)
    for (const name of request.subscribe) this.#subscribe(type, name)
    if (first) {
      this.#reviewOrphans()
      const listed = Object.entries(request.initialVersions)
      if (request.subscribe.length === 0) this.#subscribe(type, '*')
      if (type.wildcard && listed.length === 0) type.answerDue = true
      this.#compare(type, listed)
    }
  }

  /** The next response to send, at most one in flight a type; undefined where there is nothing to tell now. */
  next(): Response | undefined {
    const types = [...this.#types.values()]
    const isDue = (type: TypeState) => type.requested && !type.inFlight && (type.dirty.size > 0 || type.answerDue)
    // What is found out about one type may concern another that was looked at before.
    for (let type = types.find(isDue); type; type = types.find(isDue)) {
      const response = this.#compose(type)
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
    for (const { typeUrl, subscribed, requested, inFlight, dirty } of this.#types.values()) {
      if (requested ? inFlight || dirty.size > 0 : subscribed === 'always' || this.#willAskFor(typeUrl)) return false
    }
    return true
  }

  /** Whether the client has all that some resource of a type requires, so that it must be about to ask for that type. */
  #willAskFor(typeUrl: TypeUrl): boolean {
    for (const name of this.#store.names(typeUrl)) {
      const { requires } = this.#store.get(typeUrl, name)!
      if (requires.every(required => this.acknowledgedVersion(required) !== undefined)) return true
    }
    return false
  }

  #subscribe(type: TypeState, name: string): void {
    if (name === '*') {
      type.wildcard = true
      for (const known of this.#store.names(type.typeUrl)) type.dirty.add(known)
      return
    }
    const entry = this.#entry(type.typeUrl, name)
    entry.subscribed = true
    entry.asked = true
    type.dirty.add(name)
  }

  #unsubscribe(type: TypeState, name: string): void {
    if (name === '*') {
      type.wildcard = false
      for (const entry of type.entries.values()) if (!entry.subscribed) this.#forget(entry)
      return
    }
    const entry = this.#entry(type.typeUrl, name)
    entry.subscribed = false
    // Still subscribed to everything, the client cannot know whether that includes this name, and wants to be told.
    entry.asked = type.wildcard
    if (!type.wildcard) this.#forget(entry)
    type.dirty.add(name)
  }

  /** What a client that was connected before says that it has. */
  #compare(type: TypeState, listed: readonly (readonly [name: string, version: string])[]): void {
    const acknowledged: VersionedRef[] = []
    if (!this.#admitted && listed.some(([name]) => this.#isForAdmitted({ typeUrl: type.typeUrl, name }))) {
      this.setAdmitted(true)
      this.#events.admitted()
    }
    for (const [name, version] of listed) {
      const entry = this.#entry(type.typeUrl, name)
      type.dirty.add(name)
      if (!isWanted(type, entry)) continue
      const stored = this.#store.get(type.typeUrl, name)
      entry.asked = false
      if (stored?.version === version) {
        this.#learn(entry, stored)
        acknowledged.push({ typeUrl: type.typeUrl, name, version })
      } else {
        this.#learn(entry, { version, requires: stored?.requires ?? [] })
        entry.unsure = true
        type.unsure++
      }
    }
    if (acknowledged.length > 0) this.#events.acknowledged(acknowledged)
    const refs = listed.map(([name]) => ({ typeUrl: type.typeUrl, name }))
    const unknown = refs.filter(({ typeUrl, name }) => !this.#store.get(typeUrl, name))
    if (unknown.length > 0) this.#events.unknown(unknown)
  }

  #compose(type: TypeState): Response | undefined {
    for (let group = type.suspects.shift(); group; group = type.suspects.shift()) {
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
    for (const name of names) {
      if (items.length >= this.#maxResources || bytes >= maxBytes) break
      const entry = this.#entry(type.typeUrl, name)
      const action = this.#decide(type, entry)
      // Removals go alone: Envoy forgets what it did for a refused response, and after a reconnect would list them as there.
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
      else this.#dropIfUnused(entry)
    }
    if (items.length === 0 && !type.answerDue) return undefined
    type.answerDue = false
    const nonce = String(++this.#responses)
    type.inFlight = { nonce, items }
    return { typeUrl: type.typeUrl, nonce, put, remove }
  }

  #decide(type: TypeState, entry: Entry): Resource | 'remove' | undefined {
    if (!isWanted(type, entry)) return undefined
    const isHeldBack = !this.#admitted && this.#isForAdmitted(entry)
    const stored = isHeldBack ? undefined : this.#store.get(entry.typeUrl, entry.name)
    // A client that waits is told that there is none, also of what it refused: it would wait for its time-out.
    if (!stored) return entry.asked || (entry.known && this.#isFree(type, entry)) ? 'remove' : undefined
    if (stored.version === entry.refused) return entry.asked ? 'remove' : undefined
    if (stored.version === entry.known?.version) {
      // The same bytes may have come to require something else, or are known for sure only now.
      if (entry.known !== stored) this.#learn(entry, stored)
      if (!entry.asked && !entry.unlisted) return undefined
    }
    const missing = this.#missing(stored)
    if (!missing) return stored
    missing.waiting ??= new Set()
    missing.waiting.add(entry)
    // What will not come by itself must not hold the removals of others.
    if (missing.refused !== undefined || !this.#store.get(missing.typeUrl, missing.name)) {
      this.#assume(entry, stored)
    }
    return undefined
  }

  #isForAdmitted({ typeUrl, name }: ResourceRef): boolean {
    return this.#forAdmitted.some(ref => ref.typeUrl === typeUrl && ref.name === name)
  }

  /** Whether nothing that the client has, or is being sent, requires this one. */
  #isFree(type: TypeState, entry: Entry): boolean {
    if (entry.uses > 0) return false
    // A client that was connected before may have what requires it in a version that we do not know, or have still to say so.
    const isSure =
      this.#hasAnswered &&
      type.later.every(({ subscribed, requested, unsure }) => unsure === 0 && (requested || subscribed === 'byName'))
    if (!isSure) this.#orphans.add(entry)
    // There may be nothing else to tell that it could answer.
    if (!this.#hasAnswered) type.answerDue = true
    return isSure
  }

  #reviewOrphans(): void {
    for (const { typeUrl, name } of this.#orphans) this.#type(typeUrl).dirty.add(name)
    this.#orphans.clear()
  }

  /** The first of what the resource requires that the client does not have. */
  #missing(resource: Resource): Entry | undefined {
    for (const { typeUrl, name } of resource.requires) {
      if (name === resource.name && typeUrl === this.#type(resource.typeUrl).completes) continue
      const required = this.#entry(typeUrl, name)
      const isLeaving = required.sending !== undefined && required.sending.facts === undefined
      if (!required.known || isLeaving) return required
    }
    return undefined
  }

  #send(entry: Entry, facts: Facts | undefined): Item {
    const item = { entry, facts, asked: entry.asked }
    entry.sending = item
    entry.asked = false
    entry.unlisted = false
    if (facts) {
      this.#hold(facts)
      this.#askForCompletion(entry)
    }
    return item
  }

  #askForCompletion({ typeUrl, name }: Entry): void {
    for (const type of this.#types.values()) {
      const entry = type.completes === typeUrl ? type.entries.get(name) : undefined
      if (!entry || !isWanted(type, entry)) continue
      entry.asked = true
      type.dirty.add(name)
    }
  }

  #answered(type: TypeState, nonce: string, error: string | undefined): void {
    if (type.inFlight?.nonce !== nonce) {
      this.#events.ignored(type.typeUrl, `answer to response ${JSON.stringify(nonce)}, which is not the one in flight`)
      return
    }
    const { items } = type.inFlight
    type.inFlight = undefined
    if (!this.#hasAnswered) {
      this.#hasAnswered = true
      this.#reviewOrphans()
    }
    for (const { entry } of items) entry.sending = undefined
    if (error === undefined) this.#accepted(type, items)
    else this.#refused(type, items, error)
    for (const { facts } of items) if (facts) this.#release(facts)
  }

  #accepted(type: TypeState, items: readonly Item[]): void {
    const acknowledged: VersionedRef[] = []
    const gone: ResourceRef[] = []
    for (const { entry, facts } of items) {
      const { typeUrl, name } = entry
      if (!facts) {
        if (this.#unlearn(entry)) gone.push({ typeUrl, name })
        type.dirty.add(name)
      } else if (isWanted(type, entry)) {
        if (entry.known?.version !== facts.version) acknowledged.push({ typeUrl, name, version: facts.version })
        entry.refused = undefined
        this.#learn(entry, facts)
      }
    }
    if (acknowledged.length > 0) this.#events.acknowledged(acknowledged)
    if (gone.length > 0) this.#events.gone(gone)
  }

  /** Whatever may not have been applied is sent again without the culprits, in halves while those are not known. */
  #refused(type: TypeState, items: readonly Item[], error: string): void {
    if (items.every(({ facts }) => !facts)) {
      this.#events.ignored(type.typeUrl, `refusal of removals: ${error}`)
      this.#accepted(type, items)
      return
    }
    const names = items.map(({ entry }) => entry.name)
    const { culprits, restApplied } = readRefusal(error, names)
    const isCulprit = ({ entry }: Item) => items.length === 1 || culprits.has(entry.name)
    const rest = items.filter(item => !isCulprit(item))
    if (restApplied) this.#accepted(type, rest)
    for (const { entry, asked } of rest) {
      if (restApplied) entry.unlisted = true
      else entry.asked ||= asked
      type.dirty.add(entry.name)
    }
    if (rest.length === items.length) {
      const half = Math.ceil(names.length / 2)
      type.suspects.unshift(names.slice(0, half), names.slice(half))
    }
    for (const { entry, facts, asked } of items.filter(isCulprit)) {
      const { typeUrl, name } = entry
      const { version } = facts!
      // A client that waits for a resource has put aside what it had of it.
      if (asked && this.#unlearn(entry)) this.#events.gone([{ typeUrl, name }])
      entry.refused = version
      this.#assume(entry, facts!)
      this.#wake(entry)
      this.#events.refused({ ref: { typeUrl, name }, version, detail: error })
    }
  }

  /** The client has this now. */
  #learn(entry: Entry, facts: Facts): void {
    const before = entry.known
    this.#settleDoubt(entry)
    entry.known = facts
    this.#hold(facts)
    if (before) this.#release(before)
    this.#wake(entry)
  }

  /** The client has this no more; false where it did not have it. */
  #unlearn(entry: Entry): boolean {
    const before = entry.known
    if (!before) return false
    this.#settleDoubt(entry)
    entry.known = undefined
    this.#release(before)
    return true
  }

  /** That what the client has requires the same as its successor, which the client does not get. */
  #assume(entry: Entry, { requires }: Facts): void {
    if (entry.unsure) this.#learn(entry, { version: entry.known!.version, requires })
  }

  #settleDoubt(entry: Entry): void {
    if (!entry.unsure) return
    entry.unsure = false
    const type = this.#type(entry.typeUrl)
    type.unsure--
    if (type.unsure === 0) this.#reviewOrphans()
  }

  /** The client has given this up by itself. */
  #forget(entry: Entry): void {
    entry.asked = false
    if (this.#unlearn(entry)) this.#events.gone([{ typeUrl: entry.typeUrl, name: entry.name }])
  }

  #hold({ requires }: Facts): void {
    for (const { typeUrl, name } of requires) this.#entry(typeUrl, name).uses++
  }

  #release({ requires }: Facts): void {
    for (const { typeUrl, name } of requires) {
      const required = this.#entry(typeUrl, name)
      required.uses--
      if (required.uses === 0) this.#type(typeUrl).dirty.add(name)
    }
  }

  #wake(entry: Entry): void {
    for (const { typeUrl, name } of entry.waiting ?? []) this.#type(typeUrl).dirty.add(name)
    entry.waiting = undefined
  }

  #type(typeUrl: TypeUrl): TypeState {
    const type = this.#types.get(typeUrl)
    if (!type) throw new Error(`${typeUrl} is not among the types that the xDS server was told to serve`)
    return type
  }

  #entry(typeUrl: TypeUrl, name: string): Entry {
    const { entries } = this.#type(typeUrl)
    let entry = entries.get(name)
    if (!entry) {
      entry = newEntry(typeUrl, name)
      entries.set(name, entry)
    }
    return entry
  }

  #dropIfUnused({ typeUrl, name, subscribed, known, sending, uses, waiting }: Entry): void {
    if (subscribed || known || sending || uses > 0 || waiting || this.#store.get(typeUrl, name)) return
    this.#type(typeUrl).entries.delete(name)
  }
}
