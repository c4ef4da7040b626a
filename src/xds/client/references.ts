/**
 * Tracks what a client has of each name, and what of it requires what. A resource is not removed while something that
 * the client has, or is being sent, requires it; one that waits for another is examined again when the client has that.
 */

import type { Resource, ResourceRef, TypeUrl } from '../../envoy/resource.ts'
import type { ServedType } from '../types.ts'
import { type AckedVersion, type Entry, newEntry, newTypeState, type TypeState } from './state.ts'

export class References {
  /** In the order of `ServedType`s. */
  readonly types: ReadonlyMap<TypeUrl, TypeState>
  /** Went into service without what they wait for. */
  readonly #early = new Set<Entry>()
  /** Names to remove once it is sure that nothing the client has requires them. */
  readonly #orphans = new Set<Entry>()
  /** The client has answered a response: everything that it listed when it connected came before that. */
  #hasAnswered = false

  get hasAnswered(): boolean {
    return this.#hasAnswered
  }

  constructor(served: readonly ServedType[]) {
    const types = served.map(newTypeState)
    for (const [index, type] of types.entries()) type.later = types.slice(index + 1)
    this.types = new Map(types.map(type => [type.typeUrl, type]))
  }

  type(typeUrl: TypeUrl): TypeState {
    const type = this.types.get(typeUrl)
    if (!type) throw new Error(`${typeUrl} is not among the types that the xDS server was told to serve`)
    return type
  }

  entry(typeUrl: TypeUrl, name: string): Entry {
    const { entries } = this.type(typeUrl)
    let entry = entries.get(name)
    if (!entry) {
      entry = newEntry(typeUrl, name)
      entries.set(name, entry)
    }
    return entry
  }

  /** The version that the client has acknowledged and still has. */
  ackedVersion({ typeUrl, name }: ResourceRef): string | undefined {
    return this.types.get(typeUrl)?.entries.get(name)?.acked?.version
  }

  /** The client has this now. */
  learn(entry: Entry, version: AckedVersion): void {
    const before = entry.acked
    this.#settleDoubt(entry)
    entry.acked = version
    this.retain(version)
    if (before) this.release(before)
    if (before?.version !== version.version) this.#early.delete(entry)
    if (this.#early.size > 0 && this.type(entry.typeUrl).isWaitedForOnce) this.#reviewEarly()
    this.wake(entry)
  }

  /** The client waits for no resource of this type any longer: what waits for one is in service without it. */
  endWaits(type: TypeState): void {
    const isLacking = (ref: ResourceRef) => ref.typeUrl === type.typeUrl && this.ackedVersion(ref) === undefined
    for (const { entries } of type.later) {
      for (const entry of entries.values()) if (entry.acked?.waitsFor?.some(isLacking)) this.#early.add(entry)
    }
  }

  /** What is in service without what it waits for comes again once the client has that. */
  #reviewEarly(): void {
    for (const entry of this.#early) {
      if (!entry.acked?.waitsFor?.every(ref => this.ackedVersion(ref) !== undefined)) continue
      this.#early.delete(entry)
      entry.comesAgain = true
      this.type(entry.typeUrl).dirty.add(entry.name)
    }
  }

  /** The client no longer has this; false where it did not have it. */
  unlearn(entry: Entry): boolean {
    const before = entry.acked
    if (!before) return false
    this.#settleDoubt(entry)
    entry.acked = undefined
    this.#early.delete(entry)
    this.release(before)
    return true
  }

  /** Assumes that what the client has requires, and waits for, the same as its successor, which the client does not get. */
  assume(entry: Entry, { requires, waitsFor }: AckedVersion): void {
    if (entry.versionUnknown) this.learn(entry, { version: entry.acked!.version, requires, waitsFor })
  }

  retain({ requires }: AckedVersion): void {
    for (const { typeUrl, name } of requires) this.entry(typeUrl, name).refCount++
  }

  release({ requires }: AckedVersion): void {
    for (const { typeUrl, name } of requires) {
      const required = this.entry(typeUrl, name)
      required.refCount--
      if (required.refCount === 0) this.type(typeUrl).dirty.add(name)
    }
  }

  /** Returns the first requirement of the resource that the client does not have. */
  missing(resource: Resource): Entry | undefined {
    for (const { typeUrl, name } of resource.requires) {
      if (name === resource.name && typeUrl === this.type(resource.typeUrl).completes) continue
      const required = this.entry(typeUrl, name)
      const isLeaving = required.sending !== undefined && required.sending.version === undefined
      if (!required.acked || isLeaving) return required
    }
    return undefined
  }

  block(dependent: Entry, required: Entry): void {
    required.blockedDependents ??= new Set()
    required.blockedDependents.add(dependent)
  }

  wake(entry: Entry): void {
    for (const { typeUrl, name } of entry.blockedDependents ?? []) this.type(typeUrl).dirty.add(name)
    entry.blockedDependents = undefined
  }

  /** Whether nothing that the client has, or is being sent, requires this one. */
  isFree(type: TypeState, entry: Entry): boolean {
    if (entry.refCount > 0) return false
    // A client that was connected before may have what requires it in a version that we do not know, or has yet to list
    // it.
    const isSure =
      this.#hasAnswered &&
      type.later.every(
        ({ subscribed, requested, versionsUnknown }) => versionsUnknown === 0 && (requested || subscribed === 'byName'),
      )
    if (!isSure) this.#orphans.add(entry)
    // There may be nothing else to send that it could answer.
    if (!this.#hasAnswered) type.answerDue = true
    return isSure
  }

  answered(): void {
    if (this.#hasAnswered) return
    this.#hasAnswered = true
    this.reviewOrphans()
  }

  reviewOrphans(): void {
    for (const { typeUrl, name } of this.#orphans) this.type(typeUrl).dirty.add(name)
    this.#orphans.clear()
  }

  /** Forgets an entry that no longer concerns anybody. */
  dropIfUnused({ typeUrl, name, subscribed, acked, sending, refCount, blockedDependents }: Entry): void {
    if (subscribed || acked || sending || refCount > 0 || blockedDependents) return
    this.type(typeUrl).entries.delete(name)
  }

  #settleDoubt(entry: Entry): void {
    if (!entry.versionUnknown) return
    entry.versionUnknown = false
    const type = this.type(entry.typeUrl)
    type.versionsUnknown--
    if (type.versionsUnknown === 0) this.reviewOrphans()
  }
}
