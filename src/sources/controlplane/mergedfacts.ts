/**
 * Holds the facts of the cluster as one reader after another reports them: replicas of the control plane, or the API
 * server itself. Readers are at different versions of the cluster, and what one has not seen yet undoes nothing that
 * another told:
 *
 * - an object is replaced by a newer version of it only;
 * - an object that is not held is taken only if it is newer than the version up to which its scope was complete: else
 *   it has been seen, and has been deleted since;
 * - an object that a reader does not have is removed when that reader has seen everything up to the version that is held.
 *
 * Versions that cannot be compared (facts/versions.ts) are taken at the last reader's word. No I/O.
 */

import { isDeepStrictEqual } from 'node:util'
import { everything, type FactType, factTypes, scopesOf } from '../../facts/types.ts'
import { isOlder, mayBeNewer } from '../../facts/versions.ts'
import { type Change, type KubeObject, keyOf } from '../../services/objects/objects.ts'

export type Scopes = ReadonlyMap<FactType, ReadonlySet<string>>

interface Held {
  readonly version: string
  readonly object: KubeObject
}

interface Scope {
  /** Everything up to this version has been seen; undefined where the scope was never complete. */
  complete: string | undefined
  /** The current reader has said that it is complete. */
  isRead: boolean
}

interface OfType {
  readonly held: Map<string, Held>
  readonly scopes: Map<string, Scope>
  /** Names of held objects that the current reader does not have. */
  readonly missing: Set<string>
  /** Names that the current reader has told; undefined where it tells what it does not have. */
  told: Set<string> | undefined
}

export class MergedFacts {
  readonly #types: ReadonlyMap<FactType, OfType> = new Map(
    factTypes.map(type => [type, { held: new Map(), scopes: new Map(), missing: new Set(), told: undefined }]),
  )
  #changes: Change[] = []

  /**
   * A reader begins. Objects that none of its scopes covers are dropped.
   * @param reads `all`: it lists what it has; `differences`: it is told `versions`, and says also what it does not have
   */
  begin(scopes: Scopes, reads: 'all' | 'differences'): void {
    for (const [type, ofType] of this.#types) {
      const wanted = scopes.get(type) ?? new Set()
      ofType.missing.clear()
      ofType.told = reads === 'all' ? new Set() : undefined
      for (const scope of ofType.scopes.keys()) if (!wanted.has(scope)) ofType.scopes.delete(scope)
      for (const scope of wanted) {
        ofType.scopes.set(scope, { complete: ofType.scopes.get(scope)?.complete, isRead: false })
      }
      for (const [name, { object }] of ofType.held) if (!isCovered(ofType, object)) this.#drop(ofType, name)
    }
  }

  /** The current reader tells of one more scope. Returns false where it does already. */
  widen(type: FactType, scope: string): boolean {
    const { scopes } = this.#types.get(type)!
    if (scopes.has(scope)) return false
    scopes.set(scope, { complete: undefined, isRead: false })
    return true
  }

  /** The versions of what is held, by name. */
  versions(type: FactType): Record<string, string> {
    return Object.fromEntries([...this.#types.get(type)!.held].map(([name, { version }]) => [name, version]))
  }

  put(type: FactType, name: string, version: string, object: KubeObject): void {
    const ofType = this.#types.get(type)!
    if (!isCovered(ofType, object)) return
    ofType.told?.add(name)
    ofType.missing.delete(name)
    const before = ofType.held.get(name)
    if (before ? !mayBeNewer(version, before.version) : !isNews(ofType, object, version)) return
    const isSame = isDeepStrictEqual(before?.object, object)
    ofType.held.set(name, { version, object: isSame ? before!.object : object })
    if (!isSame) this.#changes.push({ type: 'put', object })
  }

  /** The reader does not have the object, or no longer. */
  remove(type: FactType, name: string): void {
    const ofType = this.#types.get(type)!
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
      const isKnown = state.complete !== undefined && (version === '' || isOlder(version, state.complete))
      if (!isKnown) state.complete = version
    }
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
