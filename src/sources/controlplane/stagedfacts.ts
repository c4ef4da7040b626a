/**
 * Holds what a stream tells until it has told everything. Until then it counts for nothing: what was read before stays,
 * and another reader may go on. No I/O.
 */

import type { Told } from '../../facts/told.ts'
import { everything, type FactType } from '../../facts/types.ts'
import type { Held, MergedFacts, Scopes } from './mergedfacts.ts'

interface OfType {
  /** What the replica has. */
  readonly held: Map<string, Held>
  readonly unreadable: Set<string>
  /** Scopes with the version up to which each is complete; undefined where it is not. */
  readonly scopes: Map<string, string | undefined>
}

export class StagedFacts {
  readonly #types: ReadonlyMap<FactType, OfType>

  /** @param merged what is known, which the replica hears, so that it tells differences */
  constructor(scopes: Scopes, merged: MergedFacts) {
    this.#types = new Map(
      [...scopes].map(([type, ofType]) => [
        type,
        {
          held: new Map(merged.held(type)),
          unreadable: new Set(),
          scopes: new Map([...ofType].map(scope => [scope, undefined])),
        },
      ]),
    )
  }

  /** The versions of what was known, by name. */
  versions(type: FactType): Record<string, string> {
    return Object.fromEntries([...this.#types.get(type)!.held].map(([name, { version }]) => [name, version]))
  }

  hasAll(type: FactType): boolean {
    return this.#types.get(type)!.scopes.has(everything)
  }

  /** The stream tells of one more scope. Returns false where it does already. */
  widen(type: FactType, scope: string): boolean {
    const { scopes } = this.#types.get(type)!
    if (scopes.has(scope)) return false
    scopes.set(scope, undefined)
    return true
  }

  take({ type, put, removed, complete, unreadable }: Told): void {
    const ofType = this.#types.get(type)!
    for (const { name, version, object } of put) {
      ofType.held.set(name, { version, object })
      ofType.unreadable.delete(name)
    }
    for (const { name } of unreadable) ofType.unreadable.add(name)
    for (const name of removed) {
      ofType.held.delete(name)
      ofType.unreadable.delete(name)
    }
    for (const { scope, version } of complete) if (ofType.scopes.has(scope)) ofType.scopes.set(scope, version)
  }

  get isComplete(): boolean {
    return [...this.#types.values()].every(({ scopes }) => [...scopes.values()].every(version => version !== undefined))
  }

  /** Once it is complete: makes the stream the reader of what is merged. */
  mergeInto(merged: MergedFacts): void {
    merged.begin(new Map([...this.#types].map(([type, { scopes }]) => [type, new Set(scopes.keys())])))
    for (const [type, { held, unreadable, scopes }] of this.#types) {
      for (const [name, { version, object }] of held) merged.put(type, name, version, object)
      for (const name of unreadable) merged.cannotRead(type, name)
      for (const [scope, version] of scopes) merged.complete(type, scope, version!)
    }
  }
}
