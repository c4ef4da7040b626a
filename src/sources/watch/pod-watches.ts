/**
 * Decides which Pods of the API are watched: those of the namespaces that matter, each by its own watch, or by one
 * watch of all Pods where these are many. Each watch costs the server a connection, and each Pod that nobody needs
 * costs it an event for every node.
 */

import { isDeepStrictEqual } from 'node:util'
import { type Change, describeKey, type KubeObject, keyOf } from '../../services/objects/objects.ts'

/** From this number of namespaces on, one watch of all Pods. */
export const mostNamespaces = 16
const allPods = '/api/v1/pods'

/** The watch of this node's Pods, which always exists. */
export const ownPods = 'own Pods'

interface HeldPod {
  readonly object: KubeObject
  readonly by: readonly string[]
}

export interface PodWatch {
  readonly isSynced: boolean
  stop(): void
}

export interface PodWatchesOptions {
  /** Begins to list and watch; its reports come to `told` with the same path. */
  readonly start: (path: string) => PodWatch
  readonly changes: (changes: readonly Change[]) => void
}

export class PodWatches {
  readonly #options: PodWatchesOptions
  readonly #watches = new Map<string, PodWatch>()
  /** Pods by description; one of this node comes by another watch, too. */
  readonly #pods = new Map<string, HeldPod>()
  #wanted: ReadonlySet<string> = new Set()

  constructor(options: PodWatchesOptions) {
    this.#options = options
  }

  /** Once it needs all Pods, it goes on with all. */
  need(namespaces: ReadonlySet<string>): void {
    const isMany = namespaces.size > mostNamespaces || this.#wanted.has(allPods)
    this.#wanted = new Set(isMany ? [allPods] : [...namespaces].map(name => `/api/v1/namespaces/${name}/pods`))
    for (const path of this.#wanted) if (!this.#watches.has(path)) this.#watches.set(path, this.#options.start(path))
    this.settle()
  }

  get isSynced(): boolean {
    return [...this.#wanted].every(path => this.#watches.get(path)?.isSynced)
  }

  /** Ends watches that are not needed any more, once everything needed has been reported. */
  settle(): void {
    if (!this.isSynced) return
    for (const [path, watch] of this.#watches) {
      if (this.#wanted.has(path)) continue
      watch.stop()
      const held = [...this.#pods.values()].filter(({ by }) => by.includes(path))
      this.told(
        path,
        held.map(({ object }) => ({ type: 'remove', key: keyOf(object) })),
      )
      this.#watches.delete(path)
    }
  }

  /**
   * A Pod is gone when no watch has it any more.
   * @param by the path of a watch, or `ownPods`
   */
  told(by: string, changes: readonly Change[]): void {
    if (by !== ownPods && !this.#watches.has(by)) return
    const news = changes.filter(change => this.#isNews(by, change))
    if (news.length > 0) this.#options.changes(news)
  }

  #isNews(by: string, change: Change): boolean {
    const key = describeKey(change.type === 'put' ? keyOf(change.object) : change.key)
    const known = this.#pods.get(key)
    const others = (known?.by ?? []).filter(other => other !== by)
    if (change.type === 'put') {
      this.#pods.set(key, { object: change.object, by: [...others, by] })
      return !isDeepStrictEqual(known?.object, change.object)
    }
    if (known && others.length > 0) this.#pods.set(key, { object: known.object, by: others })
    else this.#pods.delete(key)
    return others.length === 0
  }

  stop(): void {
    for (const watch of this.#watches.values()) watch.stop()
  }
}
