/** Reads the facts of the cluster from the API server, as one more reader of what is merged. */

import { nameOf, typeOf } from '../../facts/types.ts'
import { versionOf } from '../../facts/versions.ts'
import { type Change, keyOf } from '../../services/objects/objects.ts'
import type { Problem } from '../../services/problem.ts'
import type { Source } from '../source.ts'
import type { MergedFacts } from './mergedfacts.ts'

export interface DirectListener {
  /** Something has been merged. */
  merged(): void
  /** As those of a source. */
  problems(origin: string, problems: readonly Problem[]): void
}

export class DirectReader {
  readonly #source: Source
  readonly #merged: MergedFacts
  readonly #listener: DirectListener
  readonly #origins = new Set<string>()
  #isReading = true

  /**
   * @param source not started
   * @param merged whose reader this one is now
   */
  constructor(source: Source, merged: MergedFacts, listener: DirectListener) {
    this.#source = source
    this.#merged = merged
    this.#listener = listener
    source.start({
      changes: changes => this.#read(() => this.#take(changes)),
      progress: ({ kind, scope }, version) => {
        const type = typeOf(kind)
        // Kinds of policies are listed each by itself, so none of them says that all are known.
        if (type !== 'OtherPolicy') this.#read(() => merged.complete(type, scope, versionOf(type, version)))
      },
      synced: () =>
        this.#read(() => {
          for (const { type, scope } of merged.unread()) merged.complete(type, scope, '')
        }),
      problems: (origin, problems) => {
        if (!this.#isReading) return
        this.#origins.add(origin)
        listener.problems(origin, problems)
      },
    })
  }

  needPods(namespaces: ReadonlySet<string>): void {
    this.#source.needPods?.(namespaces)
  }

  /** Nothing is merged any more. */
  async stop(): Promise<void> {
    this.#isReading = false
    for (const origin of this.#origins) this.#listener.problems(origin, [])
    await this.#source.stop()
  }

  #read(act: () => void): void {
    if (!this.#isReading) return
    act()
    this.#listener.merged()
  }

  #take(changes: readonly Change[]): void {
    for (const change of changes) {
      const key = change.type === 'put' ? keyOf(change.object) : change.key
      const type = typeOf(key.kind)
      if (change.type === 'remove') this.#merged.remove(type, nameOf(key))
      else this.#merged.put(type, nameOf(key), versionOf(type, change.version), change.object)
    }
  }
}
