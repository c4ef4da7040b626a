/** Takes what a client subscribes to, and what one that was connected before lists. */

import type { ResourceRef } from '../../envoy/resource.ts'
import type { ResourceStore } from '../store.ts'
import type { ClientEvents, VersionedRef } from './messages.ts'
import type { References } from './references.ts'
import { type Entry, isWanted, type TypeState } from './state.ts'

export class Subscription {
  readonly #store: ResourceStore
  readonly #references: References
  readonly #events: ClientEvents

  constructor(store: ResourceStore, references: References, events: ClientEvents) {
    this.#store = store
    this.#references = references
    this.#events = events
  }

  add(type: TypeState, name: string): void {
    if (name === '*') {
      type.wildcard = true
      for (const known of this.#store.names(type.typeUrl)) type.dirty.add(known)
      return
    }
    const entry = this.#references.entry(type.typeUrl, name)
    entry.subscribed = true
    entry.mustRespond = true
    type.dirty.add(name)
  }

  remove(type: TypeState, name: string): void {
    if (name === '*') {
      type.wildcard = false
      for (const entry of type.entries.values()) if (!entry.subscribed) this.#forget(entry)
      return
    }
    const entry = this.#references.entry(type.typeUrl, name)
    entry.subscribed = false
    // Still subscribed to everything, the client cannot know whether that includes this name, and wants an answer.
    entry.mustRespond = type.wildcard
    if (!type.wildcard) this.#forget(entry)
    type.dirty.add(name)
  }

  /** A client that asks for these before anything was sent to it, and lists none, may have rejected them. */
  doubt(type: TypeState, names: readonly string[]): void {
    for (const name of names) {
      const entry = this.#references.entry(type.typeUrl, name)
      if (!entry.acked) entry.maybeRejected = true
    }
    this.#references.endWaits(type)
  }

  /** @param listed what a client that was connected before has: name and version */
  compare(type: TypeState, listed: readonly (readonly [name: string, version: string])[]): void {
    const acknowledged: VersionedRef[] = []
    for (const [name, version] of listed) {
      const entry = this.#references.entry(type.typeUrl, name)
      type.dirty.add(name)
      if (!isWanted(type, entry)) continue
      const stored = this.#store.get(type.typeUrl, name)
      entry.mustRespond = false
      if (stored?.version === version) {
        this.#references.learn(entry, stored)
        acknowledged.push({ typeUrl: type.typeUrl, name, version })
      } else {
        this.#references.learn(entry, { version, requires: stored?.requires ?? [], waitsFor: stored?.waitsFor })
        entry.versionUnknown = true
        type.versionsUnknown++
      }
    }
    if (acknowledged.length > 0) this.#events.acknowledged(acknowledged)
    const refs: readonly ResourceRef[] = listed.map(([name]) => ({ typeUrl: type.typeUrl, name }))
    const unknown = refs.filter(({ typeUrl, name }) => !this.#store.get(typeUrl, name))
    if (unknown.length > 0) this.#events.unknown(unknown)
  }

  /** The client has given this up by itself. */
  #forget(entry: Entry): void {
    entry.mustRespond = false
    if (this.#references.unlearn(entry)) this.#events.gone([{ typeUrl: entry.typeUrl, name: entry.name }])
  }
}
