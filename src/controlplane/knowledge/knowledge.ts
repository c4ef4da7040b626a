/**
 * What a control plane knows: what its source reports, and until that has reported everything, what a snapshot has. An
 * object of a snapshot goes when the source has reported everything of its type without it.
 */

import type { Told } from '../../facts/told.ts'
import { type FactType, nameOf, typeOf } from '../../facts/types.ts'
import type { Log } from '../../observe/log.ts'
import { type Change, keyOf } from '../../services/objects/objects.ts'
import { formatProblem, type Problem } from '../../services/problem.ts'
import type { Collection, SourceListener } from '../../sources/source.ts'
import { ReadyEndpoints } from '../failures/readyendpoints.ts'
import { FactStore, type OnChange } from './factstore.ts'
import { Freshness } from './freshness.ts'
import { encodeSnapshot, type Snapshot } from './snapshot.ts'

export class Knowledge implements SourceListener {
  readonly store: FactStore
  readonly freshness: Freshness
  readonly ready = new ReadyEndpoints()
  readonly #log: Log
  /** Names of objects of a snapshot that the source has not reported, by type. */
  readonly #unconfirmed = new Map<FactType, Set<string>>()
  /** The source has reported everything of these. */
  readonly #listed = new Set<FactType>()
  #isSynced = false
  #isRestored = false
  #saved = -1

  constructor(onChange: OnChange, log: Log, freshness = new Freshness()) {
    this.store = new FactStore(onChange)
    this.freshness = freshness
    this.#log = log
  }

  /** Everything is known, or was at some time. */
  get isKnown(): boolean {
    return this.#isSynced || this.#isRestored
  }

  changes(changes: readonly Change[]): void {
    this.freshness.heard()
    for (const change of changes) {
      const key = change.type === 'put' ? keyOf(change.object) : change.key
      this.#unconfirmed.get(typeOf(key.kind))?.delete(nameOf(key))
    }
    this.#apply(changes)
  }

  progress({ kind }: Collection, version: string): void {
    this.freshness.heard()
    const type = typeOf(kind)
    // Kinds of policies are listed each by itself, so none of them says that all are known.
    if (type !== 'OtherPolicy') this.#confirm(type)
    this.store.progress(type, version)
  }

  synced(): void {
    this.#isSynced = true
    for (const type of [...this.#unconfirmed.keys()]) this.#confirm(type)
    this.freshness.confirmed()
    this.#log.info({}, 'everything is known; agents are served')
  }

  problems(origin: string, problems: readonly Problem[]): void {
    this.freshness.problems(origin, problems)
    for (const problem of problems) this.#log.warn({ origin, code: problem.code }, formatProblem(problem))
  }

  /** Adds what the source has not reported, if it has not reported everything. */
  restore({ seen, facts }: Snapshot): void {
    if (this.#isSynced) return
    for (const told of facts) if (!this.#listed.has(told.type)) this.#restoreType(told)
    this.#isRestored = true
    this.freshness.restored(seen)
    const seconds = Math.round((this.freshness.ageMs ?? 0) / 1000)
    this.#log.warn({ seconds }, 'the API server does not answer; agents are served what was known so many seconds ago')
  }

  /** Undefined where nothing changed since the last call, or what is known may not be the cluster's. */
  snapshot(): Buffer | undefined {
    const { seen, isCutOff } = this.freshness
    const { revision } = this.store
    if (!this.#isSynced || isCutOff || seen === undefined || revision === this.#saved) return undefined
    this.#saved = revision
    return encodeSnapshot(this.store, seen)
  }

  #restoreType({ type, put, complete }: Told): void {
    const news = put.filter(({ name }) => !this.store.all(type).has(name))
    this.#unconfirmed.set(type, new Set(news.map(({ name }) => name)))
    this.#apply(news.map(({ object, version }) => ({ type: 'put', object, version })))
    for (const { version } of complete) this.store.progress(type, version)
  }

  #apply(changes: readonly Change[]): void {
    this.store.apply(changes)
    this.ready.apply(changes)
  }

  #confirm(type: FactType): void {
    this.#listed.add(type)
    for (const name of this.#unconfirmed.get(type) ?? []) {
      this.store.remove(type, name)
      this.ready.remove(type, name)
    }
    this.#unconfirmed.delete(type)
  }
}
