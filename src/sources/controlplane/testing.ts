/** A cluster for tests of readers: what exists, with versions, and who watches which of it. */

import { everything, inNamespace, ofNode, scopesOf } from '../../facts/types.ts'
import { type Change, describeKey, type KubeObject, keyOf } from '../../services/objects/objects.ts'
import type { Collection, Source, SourceListener } from '../source.ts'
import { ownPods, type PodWatch, PodWatches } from '../watch/pod-watches.ts'

type Watcher = Pick<SourceListener, 'changes' | 'progress'>

interface Watch {
  readonly watcher: Watcher
  readonly collections: readonly Collection[]
}

const others = (['Service', 'Namespace', 'Node'] as const).map(kind => ({ kind, scope: everything }))
const allPods: Collection = { kind: 'Pod', scope: everything }

export class Cluster {
  readonly #objects = new Map<string, Change & { readonly type: 'put' }>()
  readonly #watches = new Set<Watch>()
  #version = 100

  apply(...changes: readonly Change[]): void {
    for (const change of changes) {
      const version = String(++this.#version)
      const key = describeKey(change.type === 'put' ? keyOf(change.object) : change.key)
      const object = change.type === 'put' ? change.object : this.#objects.get(key)!.object
      if (change.type === 'put') this.#objects.set(key, { ...change, version })
      else this.#objects.delete(key)
      for (const watch of this.#watches) {
        if (hears(watch, object)) watch.watcher.changes([change.type === 'put' ? { ...change, version } : change])
        this.#progress(watch)
      }
    }
  }

  /** A replica of the control plane hears everything from now on, until it is let go. */
  follow(listener: SourceListener): () => void {
    const letGo = this.watch(listener, [...others, allPods])
    listener.synced()
    return letGo
  }

  /** Lists and watches, until it is let go. */
  watch(watcher: Watcher, collections: readonly Collection[]): () => void {
    const watch = { watcher, collections }
    watcher.changes([...this.#objects.values()].filter(({ object }) => hears(watch, object)))
    this.#progress(watch)
    this.#watches.add(watch)
    return () => this.#watches.delete(watch)
  }

  #progress({ watcher, collections }: Watch): void {
    for (const collection of collections) watcher.progress?.(collection, String(this.#version))
  }
}

function hears({ collections }: Watch, object: KubeObject): boolean {
  return collections.some(({ kind, scope }) => kind === object.kind && scopesOf(object).includes(scope))
}

/** Watches the cluster for one node, with watches of Pods like those of the Kubernetes API. */
export class DirectSource implements Source {
  readonly #cluster: Cluster
  readonly #nodeName: string
  readonly #letGo: (() => void)[] = []
  readonly #pods = new PodWatches({
    start: path => this.#watchPods(path),
    changes: changes => this.#listener!.changes(changes),
  })
  #listener: SourceListener | undefined
  #isSynced = false

  constructor(cluster: Cluster, nodeName: string) {
    this.#cluster = cluster
    this.#nodeName = nodeName
  }

  async start(listener: SourceListener): Promise<void> {
    this.#listener = listener
    this.#letGo.push(this.#cluster.watch(listener, others), this.#follow(ownPods, ofNode(this.#nodeName)))
    setImmediate(() => this.#settle())
  }

  needPods(namespaces: ReadonlySet<string>): void {
    this.#pods.need(namespaces)
  }

  async stop(): Promise<void> {
    this.#pods.stop()
    for (const letGo of this.#letGo) letGo()
  }

  #watchPods(path: string): PodWatch {
    const [, namespace] = /namespaces\/(.+)\/pods$/.exec(path) ?? []
    let letGo: (() => void) | undefined
    const listing = setImmediate(() => {
      letGo = this.#follow(path, namespace === undefined ? everything : inNamespace(namespace))
      this.#settle()
    })
    return {
      get isSynced() {
        return letGo !== undefined
      },
      stop: () => {
        clearImmediate(listing)
        letGo?.()
      },
    }
  }

  #settle(): void {
    if (this.#isSynced || !this.#pods.isSynced) return
    this.#isSynced = true
    this.#listener!.synced()
  }

  #follow(by: string, scope: string): () => void {
    const watcher: Watcher = {
      changes: changes => this.#pods.told(by, changes),
      progress: (collection, version) => this.#listener!.progress?.(collection, version),
    }
    return this.#cluster.watch(watcher, [{ kind: 'Pod', scope }])
  }
}
