/** Finds what an ACK or NACK of a response means for each of its resources. */

import type { ResourceRef } from '../../envoy/resource.ts'
import type { ClientEvents, VersionedRef } from './messages.ts'
import { readNack } from './nackdetail.ts'
import type { References } from './references.ts'
import { type AckedVersion, type Item, isWanted, type TypeState } from './state.ts'

export class Answers {
  readonly #references: References
  readonly #events: ClientEvents

  constructor(references: References, events: ClientEvents) {
    this.#references = references
    this.#events = events
  }

  /** @param error of a NACK; undefined for an ACK */
  take(type: TypeState, nonce: string, error: string | undefined): void {
    if (type.inFlight?.nonce !== nonce) {
      this.#events.ignored(type.typeUrl, `answer to response ${JSON.stringify(nonce)}, which is not the one in flight`)
      return
    }
    const { items } = type.inFlight
    type.inFlight = undefined
    this.#references.answered()
    for (const { entry } of items) entry.sending = undefined
    if (error === undefined) this.#accepted(type, items)
    else this.#rejected(type, items, error)
    for (const { version } of items) if (version) this.#references.release(version)
  }

  #accepted(type: TypeState, items: readonly Item[]): void {
    const acknowledged: VersionedRef[] = []
    const gone: ResourceRef[] = []
    for (const { entry, version } of items) {
      const { typeUrl, name } = entry
      if (!version) {
        if (this.#references.unlearn(entry)) gone.push({ typeUrl, name })
        type.dirty.add(name)
      } else if (isWanted(type, entry)) {
        if (entry.acked?.version !== version.version) acknowledged.push({ typeUrl, name, version: version.version })
        entry.rejected = undefined
        this.#references.learn(entry, version)
      }
    }
    if (acknowledged.length > 0) this.#events.acknowledged(acknowledged)
    if (gone.length > 0) this.#events.gone(gone)
  }

  /** Sends again whatever may not have been applied, without the culprits, in halves while those are not known. */
  #rejected(type: TypeState, items: readonly Item[], error: string): void {
    if (items.every(({ version }) => !version)) {
      this.#events.ignored(type.typeUrl, `refusal of removals: ${error}`)
      this.#accepted(type, items)
      return
    }
    const names = items.map(({ entry }) => entry.name)
    const { culprits, restApplied } = readNack(error, names)
    const isCulprit = ({ entry }: Item) => items.length === 1 || culprits.has(entry.name)
    const rest = items.filter(item => !isCulprit(item))
    if (restApplied) this.#accepted(type, rest)
    for (const { entry, mustRespond } of rest) {
      if (restApplied) entry.resendAfterNack = true
      else entry.mustRespond ||= mustRespond
      type.dirty.add(entry.name)
    }
    if (rest.length === items.length) {
      const half = Math.ceil(names.length / 2)
      type.bisectionQueue.unshift(names.slice(0, half), names.slice(half))
    }
    for (const item of items.filter(isCulprit)) this.#rejectedAlone(item, item.version!, error)
    if (type.isWaitedForOnce) this.#references.endWaits(type)
  }

  #rejectedAlone({ entry, mustRespond }: Item, version: AckedVersion, detail: string): void {
    const ref = { typeUrl: entry.typeUrl, name: entry.name }
    // A client that waits for a resource has put aside what it had of it.
    if (mustRespond && this.#references.unlearn(entry)) this.#events.gone([ref])
    entry.rejected = version.version
    this.#references.assume(entry, version)
    this.#references.wake(entry)
    this.#events.nacked({ ref, version: version.version, detail })
  }
}
