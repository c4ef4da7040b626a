/**
 * Holds the facts of the cluster as one reader after another reports them: replicas of the control plane, or the API
 * server itself. Each begins with all that it has. Readers are at different versions of the cluster, and what one has
 * not seen yet undoes nothing that another told:
 *
 * - an object is replaced by a newer version of it only;
 * - an object that is not held is taken only if it is newer than the version up to which its scope was complete: else
 *   it has been seen, and has been deleted since. What was told but could not be read has not been seen;
 * - an object that a reader does not have is removed when that reader has seen everything up to the version that is held.
 *
 * Versions that cannot be compared (facts/versions.ts) are taken at the last reader's word. No I/O.
 */

import { isDeepStrictEqual } from 'node:util'
import type { Told } from '../../facts/told.ts'
import { everything, type FactType, factTypes, scopesOf } from '../../facts/types.ts'
import { isOlder, mayBeNewer } from '../../facts/versions.ts'
import { type Change, type KubeObject, keyOf } from '../../services/objects/objects.ts'

export type Scopes = ReadonlyMap<FactType, ReadonlySet<string>>

export interface Held {
  readonly version: string
  readonly object: KubeObject
}

interface Scope {
  /**
   * Everything up to this version has been seen; undefined where the scope was never complete, and '' where the last
   * reader could not say.
   */
  complete: string | undefined
  /** The current reader has said that it is complete. */
  isRead: boolean
}

interface OfType {
  readonly held: Map<string, Held>
  readonly scopes: Map<string, Scope>
  /** Names of held objects that the current reader does not have. */
  readonly missing: Set<string>
  /** Names that the current reader has told; undefined once it has told everything: those held and not missing. */
  told: Set<string> | undefined
  /** Names of objects that are not held since no reader told them readably. */
  readonly unreadable: Set<string>
}

function emptyType(): OfType {
  return { held: new Map(), scopes: new Map(), missing: new Set(), told: new Set(), unreadable: new Set() }
}

export class MergedFacts {
  readonly #types: ReadonlyMap<FactType, OfType> = new Map(factTypes.map(type => [type, emptyType()]))
  #changes: Change[] = []

  /** A reader begins, which tells all that it has. Objects that none of its scopes covers are dropped. */
  begin(scopes: Scopes): void {
    for (const [type, ofType] of this.#types) {
      const wanted = scopes.get(type) ?? new Set()
      ofType.missing.clear()
      ofType.told = new Set()
      const before = new Map(ofType.scopes)
      const ofAll = before.get(everything)?.complete
      // Until all is known, what was known of parts says what has been seen.
      const keepsParts = wanted.has(everything) && ofAll === undefined
      for (const scope of before.keys()) if (!wanted.has(scope) && !keepsParts) ofType.scopes.delete(scope)
      for (const scope of wanted) {
        ofType.scopes.set(scope, { complete: before.get(scope)?.complete ?? ofAll, isRead: false })
      }
      for (const [name, { object }] of ofType.held) if (!isCovered(ofType, object)) this.#drop(ofType, name)
    }
  }

  /** The current reader tells of one more scope. Returns false where it does already. */
  widen(type: FactType, scope: string): boolean {
    const ofType = this.#types.get(type)!
    if (ofType.scopes.has(scope)) return false
    ofType.scopes.set(scope, { complete: undefined, isRead: false })
    ofType.told ??= new Set([...ofType.held.keys()].filter(name => !ofType.missing.has(name)))
    return true
  }

  /** Whether the current reader tells of all objects of the type. */
  hasAll(type: FactType): boolean {
    return this.#types.get(type)!.scopes.has(everything)
  }

  held(type: FactType): ReadonlyMap<string, Held> {
    return this.#types.get(type)!.held
  }

  take({ type, put, removed, complete, unreadable }: Told): void {
    for (const { name, version, object } of put) this.put(type, name, version, object)
    for (const { name } of unreadable) this.cannotRead(type, name)
    for (const name of removed) this.remove(type, name)
    for (const { scope, version } of complete) this.complete(type, scope, version)
  }

  put(type: FactType, name: string, version: string, object: KubeObject): void {
    const ofType = this.#types.get(type)!
    if (!isCovered(ofType, object)) return
    ofType.told?.add(name)
    ofType.missing.delete(name)
    const before = ofType.held.get(name)
    const isUnseen = ofType.unreadable.delete(name) || isNews(ofType, object, version)
    if (before ? !mayBeNewer(version, before.version) : !isUnseen) return
    const isSame = isDeepStrictEqual(before?.object, object)
    ofType.held.set(name, { version, object: isSame ? before!.object : object })
    if (!isSame) this.#changes.push({ type: 'put', object })
  }

  /** The reader has an object that cannot be read. What is known of it stays. */
  cannotRead(type: FactType, name: string): void {
    const { held, told, missing, unreadable } = this.#types.get(type)!
    told?.add(name)
    missing.delete(name)
    if (!held.has(name)) unreadable.add(name)
  }

  /** The reader does not have the object, or no longer. */
  remove(type: FactType, name: string): void {
    const ofType = this.#types.get(type)!
    ofType.unreadable.delete(name)
    const held = ofType.held.get(name)
    if (held?.version === '') this.#drop(ofType, name)
    else if (held) ofType.missing.add(name)
  }

  /** The reader has told everything of a scope up to this version. */
  complete(type: FactType, scope: string, version: string): void {
    const ofType = this.#types.get(type)!
    const concerned = [...ofType.scopes].filter(([name]) => scope === everything || name === scope)
    const isFirst = concerned.some(([, { isRead }]) => !isRead)
    const isConcerned = ({ object }: Held) => {
      const covering = scopesOf(object)
      return concerned.some(([name]) => covering.includes(name))
    }
    if (isFirst && ofType.told) {
      for (const [name, held] of ofType.held) {
        if (ofType.told.has(name) || !isConcerned(held)) continue
        ofType.missing.add(name)
      }
    }
    for (const name of ofType.missing) {
      const held = ofType.held.get(name)
      if (held && isConcerned(held) && !isOlder(version, held.version)) this.#drop(ofType, name)
    }
    for (const [, state] of concerned) {
      state.isRead = true
      if (state.complete === undefined || !isOlder(version, state.complete)) state.complete = version
    }
    if ([...ofType.scopes.values()].every(({ isRead }) => isRead)) ofType.told = undefined
  }

  /** The scopes that the current reader has not told whole. */
  unread(): readonly { readonly type: FactType; readonly scope: string }[] {
    return [...this.#types].flatMap(([type, { scopes }]) =>
      [...scopes].flatMap(([scope, { isRead }]) => (isRead ? [] : { type, scope })),
    )
  }

  /** Whether every scope was complete once. */
  get isComplete(): boolean {
    for (const { scopes } of this.#types.values()) {
      for (const { complete } of scopes.values()) if (complete === undefined) return false
    }
    return true
  }

  /** Returns what has changed since the last call. */
  takeChanges(): readonly Change[] {
    const changes = this.#changes
    this.#changes = []
    return changes
  }

  #drop(ofType: OfType, name: string): void {
    const { object } = ofType.held.get(name)!
    ofType.held.delete(name)
    ofType.missing.delete(name)
    this.#changes.push({ type: 'remove', key: keyOf(object) })
  }
}

function isCovered({ scopes }: OfType, object: KubeObject): boolean {
  return scopesOf(object).some(scope => scopes.has(scope))
}

/** Whether an object that is not held is new, and not one that was seen and has gone. */
function isNews({ scopes }: OfType, object: KubeObject, version: string): boolean {
  return scopesOf(object).every(scope => mayBeNewer(version, scopes.get(scope)?.complete ?? ''))
}
