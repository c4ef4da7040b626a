/**
 * The objects of one resource of the Kubernetes API: listed, then watched, and listed again where the watch cannot go on.
 * https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
 */

import { setTimeout } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import type { Log } from '../observe/log.ts'
import { type Change, describeKey, type Kind, type KubeObject, keyOf } from '../services/objects.ts'
import { listItems, parseObject } from '../services/parse.ts'
import type { Problem } from '../services/problem.ts'
import { rawObject } from '../services/raw.ts'
import { ApiError, type ApiServer, type Query } from './api-server.ts'
import { Backoff } from './backoff.ts'

export interface Resource {
  readonly kind: Kind
  readonly apiVersion: string
  readonly path: string
  readonly fieldSelector?: string
}

export interface ListWatchListener {
  changes(changes: readonly Change[]): void
  /** Once, when all that there is has been told. */
  synced(): void
  /** What is wrong with one object, or nothing any more. */
  problems(object: string, problems: readonly Problem[]): void
  /** Why the API does not answer as it should, or nothing any more. */
  trouble(error: Error | undefined): void
}

/** A watch lasts between this and twice this, so that clients and servers spread over each other. */
const watchSeconds = 300
/** What the server takes longer than it was told to. */
const graceSeconds = 10
const pageSize = 500
const longestPatienceMs = 30_000
const shortestWatchMs = 1000
/** So many failures in a row are told though each alone is usual. */
const persistent = 3

export class ListWatch {
  readonly #api: ApiServer
  readonly #resource: Resource
  readonly #log: Log
  readonly #listener: ListWatchListener
  readonly #objects = new Map<string, KubeObject>()
  readonly #troubled = new Set<string>()
  readonly #backoff = new Backoff()
  /** Where the watch goes on; the server's own word, only ever handed back. Undefined where a list is needed. */
  #version: string | undefined
  /** How a list is asked for: as the beginning of a watch, in pages, or in one piece. Servers differ in what they know. */
  #listing: 'stream' | 'pages' | 'whole' = 'stream'
  #synced = false

  constructor(api: ApiServer, resource: Resource, log: Log, listener: ListWatchListener) {
    this.#api = api
    this.#resource = resource
    this.#log = log
    this.#listener = listener
  }

  /** Until the signal aborts. Failures are told to the listener and tried again, without end and with growing pauses. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      let pauseMs = 0
      try {
        if (this.#version === undefined && this.#listing !== 'stream') await this.#list(signal)
        await this.#watch(signal)
      } catch (error) {
        if (signal.aborted) return
        pauseMs = this.#afterFailure(error as Error)
      }
      await setTimeout(pauseMs, undefined, { signal }).catch(() => {})
    }
  }

  /** Tells of the failure what is worth telling. Returns how long to wait. */
  #afterFailure(error: Error): number {
    const { kind } = this.#resource
    const waitMs = this.#backoff.next()
    const code = error instanceof ApiError ? error.code : undefined
    this.#log.debug({ kind, code, reason: error.message, waitMs }, 'list and watch interrupted')
    if (code === 410) {
      // What the version named is forgotten, as after a long interruption: a list says what has happened since.
      this.#version = undefined
      if (this.#backoff.failures < persistent) return waitMs
    }
    if (error instanceof CannotStream) {
      this.#log.info({ kind, reason: error.message }, 'the server does not stream lists; they are read in pages')
      this.#listing = 'pages'
      return 0
    }
    this.#api.forgetCredentials()
    // A stream that breaks off, as when a server restarts, is no trouble yet if the next attempt goes well.
    if (!(error instanceof BrokenOff) || this.#backoff.failures > 1) this.#listener.trouble(error)
    const wantedMs = error instanceof ApiError ? (error.retryAfterMs ?? 0) : 0
    return Math.max(waitMs, Math.min(wantedMs, longestPatienceMs))
  }

  async #list(signal: AbortSignal): Promise<void> {
    const seen = new Set<string>()
    let next: string | undefined
    let version: string | undefined
    do {
      const limit = this.#listing === 'pages' ? pageSize : undefined
      const page = await this.#page({ limit, continue: next, fieldSelector: this.#resource.fieldSelector }, signal)
      this.#applyAll(listItems(page), seen)
      const metadata = rawObject(rawObject(page).metadata)
      version = textOf(metadata.resourceVersion)
      next = textOf(metadata.continue)
    } while (next)
    this.#listing = this.#listing === 'whole' ? 'pages' : this.#listing
    this.#listed(seen, version)
  }

  /** Where the pages take so long that the server has forgotten the version they are of, one piece is asked for. */
  async #page(query: Query, signal: AbortSignal): Promise<unknown> {
    try {
      return await this.#api.json(this.#resource.path, query, signal)
    } catch (error) {
      if (error instanceof ApiError && error.code === 410) this.#listing = 'whole'
      throw error
    }
  }

  #applyAll(items: Iterable<unknown>, seen: Set<string>): void {
    const { apiVersion, kind } = this.#resource
    const changes: Change[] = []
    // Items of a page need not repeat what they are.
    for (const item of items) seen.add(this.#put({ ...rawObject(item), apiVersion, kind }, changes))
    this.#tell(changes)
  }

  /** All that there is has been told: what has not been seen is gone. */
  #listed(seen: ReadonlySet<string>, version: string | undefined): void {
    const changes: Change[] = []
    for (const key of this.#objects.keys()) if (!seen.has(key)) this.#remove(key, changes)
    this.#tell(changes)
    if (!version) throw new Error('the server answered with a list without resourceVersion')
    this.#version = version
    this.#backoff.reset()
    this.#listener.trouble(undefined)
    if (this.#synced) return
    this.#synced = true
    this.#listener.synced()
  }

  /** Until the server ends it in its time; goes on from the last version, or begins with all that there is. */
  async #watch(signal: AbortSignal): Promise<void> {
    const began = performance.now()
    let seen = this.#version === undefined ? new Set<string>() : undefined
    const timeoutSeconds = Math.ceil(watchSeconds * (1 + Math.random()))
    const deadline = AbortSignal.timeout((timeoutSeconds + graceSeconds) * 1000)
    const start: Query = seen
      ? { sendInitialEvents: true, resourceVersionMatch: 'NotOlderThan' }
      : { resourceVersion: this.#version }
    const { fieldSelector, path } = this.#resource
    const query = { watch: true, allowWatchBookmarks: true, timeoutSeconds, fieldSelector, ...start }
    let accepted = false
    try {
      for await (const lines of this.#api.lines(path, query, AbortSignal.any([signal, deadline]))) {
        if (!accepted && !seen) this.#listener.trouble(undefined)
        accepted = true
        if (lines.length === 0) continue
        seen = this.#events(lines, seen)
        if (!seen) this.#backoff.reset()
      }
    } catch (error) {
      throw whatItMeans(error as Error, seen !== undefined, accepted)
    }
    if (seen) throw new BrokenOff('the list ended before its end was told')
    if (performance.now() - began < shortestWatchMs) throw new BrokenOff('the server ended the watch at once')
    this.#backoff.reset()
  }

  /** `seen` are the keys that the list at the beginning has named so far, undefined when it is over. Returns it as it is then. */
  #events(lines: readonly string[], seen: Set<string> | undefined): Set<string> | undefined {
    let listing = seen
    const changes: Change[] = []
    const finish = () => this.#tell(changes.splice(0))
    for (const line of lines) {
      const { type, object } = rawObject(JSON.parse(line))
      const raw = rawObject(object)
      const metadata = rawObject(raw.metadata)
      if (type === 'ERROR') {
        finish()
        throw new ApiError(typeof raw.code === 'number' ? raw.code : 0, textOf(raw.message) ?? 'the watch failed')
      }
      const version = textOf(metadata.resourceVersion)
      if (type === 'ADDED' || type === 'MODIFIED') {
        const key = this.#put(raw, changes)
        listing?.add(key)
      } else if (type === 'DELETED') {
        const key = keyIn(raw, this.#resource.kind)
        this.#remove(key, changes)
        listing?.delete(key)
      }
      if (!listing) this.#version = version ?? this.#version
      else if (type === 'BOOKMARK') {
        const isEnd = rawObject(metadata.annotations)['k8s.io/initial-events-end'] === 'true'
        if (!isEnd) throw new CannotStream('it ignores sendInitialEvents')
        finish()
        this.#listed(listing, version)
        listing = undefined
      }
    }
    finish()
    return listing
  }

  /** Returns the key. What is there but not used, such as a slice that lost its Service, is gone for the listener. */
  #put(raw: unknown, changes: Change[]): string {
    const { object, problems, ignored } = parseObject(raw)
    const key = keyIn(rawObject(raw), this.#resource.kind)
    if (ignored !== undefined) this.#log.debug({ object: key, reason: ignored }, 'object ignored')
    this.#tellProblems(key, problems)
    if (!object) this.#forget(key, changes)
    else if (!isDeepStrictEqual(this.#objects.get(key), object)) {
      this.#objects.set(key, object)
      changes.push({ type: 'put', object })
    }
    return key
  }

  #remove(key: string, changes: Change[]): void {
    this.#tellProblems(key, [])
    this.#forget(key, changes)
  }

  #forget(key: string, changes: Change[]): void {
    const object = this.#objects.get(key)
    if (object && this.#objects.delete(key)) changes.push({ type: 'remove', key: keyOf(object) })
  }

  #tell(changes: readonly Change[]): void {
    if (changes.length > 0) this.#listener.changes(changes)
  }

  #tellProblems(key: string, problems: readonly Problem[]): void {
    if (problems.length > 0) this.#troubled.add(key)
    else if (!this.#troubled.delete(key)) return
    this.#listener.problems(key, problems)
  }
}

/** An accepted answer that came to no proper end. */
class BrokenOff extends Error {}

/** The server cannot begin a watch with a list: the feature is off, or what it needs of etcd is missing. */
class CannotStream extends Error {}

function whatItMeans(error: Error, listing: boolean, accepted: boolean): Error {
  const code = error instanceof ApiError ? error.code : undefined
  const isRefusal = code !== undefined && ![401, 403, 410, 429].includes(code) && (accepted || code < 500)
  if (listing && isRefusal) return new CannotStream(error.message)
  if (error instanceof CannotStream || code !== undefined || !accepted) return error
  return new BrokenOff(error.message, { cause: error })
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}

function keyIn(raw: Readonly<Record<string, unknown>>, kind: Kind): string {
  const { namespace, name } = rawObject(raw.metadata)
  return describeKey({ kind, namespace: textOf(namespace) ?? '', name: textOf(name) ?? '' })
}
