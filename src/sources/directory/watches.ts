/** Watches each directory of a tree. Node's recursive watch would be one on every file. */

import { type FSWatcher, watch } from 'node:fs'
import { basename, join } from 'node:path'
import type { Log } from '../../observe/log.ts'
import { messageOf } from '../manifests/file-tree.ts'
import { isManifestName } from '../manifests/manifest.ts'

export interface TouchListener {
  /** The manifest file of this path came, went or changed. */
  file(path: string): void
  /** Something else came or went, such as a directory or the link that a Kubernetes volume swaps. */
  names(): void
}

interface Watch {
  readonly identity: string
  /** Undefined where the system gives no watch. */
  watcher: FSWatcher | undefined
}

export class DirectoryWatches {
  readonly #log: Log
  readonly #listener: TouchListener
  readonly #watches = new Map<string, Watch>()

  constructor(log: Log, listener: TouchListener) {
    this.#log = log
    this.#listener = listener
  }

  /**
   * Watches a directory. `identity` tells it from another that has come under its name, which needs a watch of its own.
   */
  open(path: string, identity: string): void {
    const known = this.#watches.get(path)
    if (known?.identity === identity && known.watcher) return
    known?.watcher?.close()
    this.#watches.set(path, { identity, watcher: this.#watch(path, known?.identity !== identity) })
  }

  /** Closes the watches of directories that no longer exist. */
  keepOnly(directories: ReadonlyMap<string, string>): void {
    for (const [path, { watcher }] of this.#watches) {
      if (directories.has(path)) continue
      watcher?.close()
      this.#watches.delete(path)
    }
  }

  /** Whether every directory is watched. */
  complete(): boolean {
    return [...this.#watches.values()].every(({ watcher }) => watcher !== undefined)
  }

  /** Whether these directories, and no others, are watched. */
  match(directories: ReadonlyMap<string, string>): boolean {
    if (directories.size !== this.#watches.size) return false
    return [...directories].every(([path, identity]) => this.#watches.get(path)?.identity === identity)
  }

  close(): void {
    this.keepOnly(new Map())
  }

  #watch(path: string, isNews: boolean): FSWatcher | undefined {
    try {
      const watcher = watch(path, (event, name) => this.#onEvent(path, event, name))
      watcher.on('error', error => this.#lose(path, watcher, error))
      return watcher
    } catch (error) {
      if (isNews)
        this.#log.warn({ path, reason: messageOf(error) }, 'no watch on this directory; it is looked at every second')
      return undefined
    }
  }

  #lose(path: string, watcher: FSWatcher, error: Error): void {
    const known = this.#watches.get(path)
    if (known?.watcher !== watcher) return
    watcher.close()
    known.watcher = undefined
    this.#log.warn({ path, reason: error.message }, 'lost the watch on this directory')
    this.#listener.names()
  }

  #onEvent(directory: string, event: string, name: string | null): void {
    if (name !== null && isManifestName(name)) this.#listener.file(join(directory, name))
    // Hidden files are an editor's, except the names with two dots of Kubernetes' volumes.
    else if (event === 'rename' && !/^\.[^.]/.test(name ?? '')) this.#listener.names()
    // A directory's own name: it was moved or removed itself.
    if (name === basename(directory)) this.#listener.names()
  }
}
