/**
 * Follows one resource of the Kubernetes API: lists it, watches it, and lists it again where the watch cannot go on.
 * https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
 */

import { setTimeout } from 'node:timers/promises'
import type { Log } from '../../observe/log.ts'
import type { Kind } from '../../services/objects/objects.ts'
import { listItems } from '../../services/parse/parse.ts'
import { type Raw, rawObject } from '../../text/raw.ts'
import { ApiError, type ApiServer, type Query } from '../api-server.ts'
import { Backoff } from './backoff.ts'
import { HeldObjects, type HeldObjectsListener } from './held-objects.ts'
import type { Readiness } from './readiness.ts'

export interface Resource {
  readonly kind: Kind
  /** The resource's name in the API, if another. */
  readonly apiKind?: string
  readonly apiVersion: string
  readonly path: string
  readonly fieldSelector?: string
  /** What the selector and path choose of the kind, as a scope (facts/types.ts). Default: everything. */
  readonly scope?: string
  /** The agent can do without it: older servers do not have it, older roles do not grant it. */
  readonly isOptional?: boolean
}

export interface ListWatchListener extends HeldObjectsListener {
  /** Called once, when everything that exists has been reported. */
  synced(): void
  /** Called when everything up to this version has been reported. */
  progress(version: string): void
  /** Called with why the API does not answer as it should, or with nothing any more. */
  trouble(error: Error | undefined): void
}

/** A watch lasts between this and twice this, so that clients and servers spread over each other. */
const watchSeconds = 300
/** How much longer than asked the server may take. */
const graceSeconds = 10
/** A watch that lasted for so long went well, whatever ended it. */
const steadyMs = 5000
const pageSize = 500
const longestPatienceMs = 30_000
/** So many failures in a row are reported though each alone is usual. */
const persistent = 3

export class ListWatch {
  readonly #api: ApiServer
  readonly #readiness: Readiness
  readonly #resource: Resource
  readonly #log: Log
  readonly #listener: ListWatchListener
  readonly #objects: HeldObjects
  readonly #backoff = new Backoff()
  /** Where the watch goes on; the server's own word, only ever handed back. Undefined where a list is needed. */
  #version: string | undefined
  /**
   * How a list is asked for: as the beginning of a watch, in pages, or in one piece. Servers differ in what they
   * support.
   */
  #listing: 'stream' | 'pages' | 'whole' = 'stream'
  #synced = false

  constructor(api: ApiServer, readiness: Readiness, resource: Resource, log: Log, listener: ListWatchListener) {
    this.#api = api
    this.#readiness = readiness
    this.#resource = resource
    this.#log = log
    this.#listener = listener
    this.#objects = new HeldObjects(resource.kind, log, listener)
  }

  /**
   * Runs until the signal aborts. It reports failures to the listener and tries again, without end and with growing
   * pauses.
   */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        if (this.#version === undefined && this.#listing !== 'stream') await this.#list(signal)
        await this.#watch(signal)
      } catch (error) {
        if (signal.aborted) return
        await this.#pause(this.#afterFailure(error as Error), error as Error, signal)
      }
    }
  }

  /** A server that was away ends the pause when it is ready. */
  async #pause(ms: number, error: Error, signal: AbortSignal): Promise<void> {
    if (!isAway(error)) await setTimeout(ms, undefined, { signal }).catch(() => {})
    else if (await this.#readiness.pause(ms, signal)) this.#backoff.reset()
  }

  /** Reports the failure where it matters. Returns how long to wait. */
  #afterFailure(error: Error): number {
    const { kind } = this.#resource
    const code = error instanceof ApiError ? error.code : undefined
    // The server answers: a list is due now, however long it was away before.
    if (code === 410 && this.#version !== undefined) this.#backoff.reset()
    const waitMs = this.#backoff.next()
    this.#log.debug({ kind, code, reason: error.message, waitMs }, 'list and watch interrupted')
    if (error instanceof CannotStream) {
      this.#log.info({ kind, reason: error.message }, 'the server does not stream lists; they are read in pages')
      this.#listing = 'pages'
      return 0
    }
    if (this.#resource.isOptional && code === 404) {
      this.#tellSynced()
      return longestPatienceMs
    }
    if (code === 410) this.#listAgain()
    else this.#api.forgetCredentials()
    // A stream that breaks off, as when a server restarts, is no trouble yet if the next attempt goes well.
    const isUsual = code === 410 || error instanceof BrokenOff
    if (!isUsual || this.#backoff.failures >= persistent) this.#listener.trouble(error)
    if (this.#resource.isOptional && code === 403) this.#tellSynced()
    const wantedMs = error instanceof ApiError ? (error.retryAfterMs ?? 0) : 0
    return Math.max(waitMs, Math.min(wantedMs, longestPatienceMs))
  }

  /** The server has forgotten the version that was asked for, as after a long interruption. */
  #listAgain(): void {
    // No version yet: it was a list whose pages took too long, which one piece cannot.
    if (this.#version === undefined && this.#listing === 'pages') this.#listing = 'whole'
    this.#version = undefined
  }

  async #list(signal: AbortSignal): Promise<void> {
    const { apiVersion, path, fieldSelector } = this.#resource
    const kind = this.#resource.apiKind ?? this.#resource.kind
    const limit = this.#listing === 'pages' ? pageSize : undefined
    const seen = new Set<string>()
    let metadata: Raw = {}
    do {
      const page = await this.#api.json(path, { limit, fieldSelector, continue: textOf(metadata.continue) }, signal)
      // Items of a page need not repeat their kind.
      for (const item of listItems(page)) seen.add(this.#objects.put({ ...rawObject(item), apiVersion, kind }))
      this.#objects.tell()
      metadata = rawObject(rawObject(page).metadata)
    } while (textOf(metadata.continue))
    this.#listed(seen, textOf(metadata.resourceVersion))
    this.#listing = 'pages'
  }

  /** Everything that exists has been reported: removes the objects that were not. */
  #listed(seen: ReadonlySet<string>, version: string | undefined): void {
    if (!version) throw new Error('the server answered with a list without resourceVersion')
    this.#version = version
    this.#log.debug({ kind: this.#resource.kind, objects: seen.size, by: this.#listing }, 'listed')
    this.#objects.keepOnly(seen)
    this.#objects.tell()
    this.#listener.progress(version)
    this.#backoff.reset()
    this.#listener.trouble(undefined)
    this.#tellSynced()
  }

  #tellSynced(): void {
    if (this.#synced) return
    this.#synced = true
    this.#listener.synced()
  }

  /** Watches until the server ends the watch in its time; goes on from the last version, or begins with a list. */
  async #watch(signal: AbortSignal): Promise<void> {
    const began = performance.now()
    const timeoutSeconds = Math.ceil(watchSeconds * (1 + Math.random()))
    const deadline = AbortSignal.timeout((timeoutSeconds + graceSeconds) * 1000)
    /** The keys in the list at the beginning so far; undefined when it is over. */
    let seen = this.#version === undefined ? new Set<string>() : undefined
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
        const before = this.#version
        for (const line of lines) seen = this.#event(rawObject(JSON.parse(line)), seen)
        this.#objects.tell()
        if (this.#version !== undefined && this.#version !== before) this.#listener.progress(this.#version)
      }
      if (seen) throw new Error('the list ended before its end was told')
      if (performance.now() - began < steadyMs) throw new Error('the server ended the watch at once')
    } catch (error) {
      this.#objects.tell()
      throw whatItMeans(error as Error, seen !== undefined, accepted)
    } finally {
      if (accepted && performance.now() - began >= steadyMs) this.#backoff.reset()
    }
  }

  /** Returns the rest of the list: the keys so far, or undefined when it is over. */
  #event({ type, object }: Raw, seen: Set<string> | undefined): Set<string> | undefined {
    const { metadata, code, message } = rawObject(object)
    const { resourceVersion, annotations } = rawObject(metadata)
    const version = textOf(resourceVersion)
    if (type === 'ERROR') throw new ApiError(typeof code === 'number' ? code : 0, textOf(message) ?? 'the watch failed')
    if (type === 'ADDED' || type === 'MODIFIED') {
      const key = this.#objects.put(object)
      seen?.add(key)
    } else if (type === 'DELETED') {
      const key = this.#objects.remove(object)
      seen?.delete(key)
    }
    if (!seen) this.#version = version ?? this.#version
    else if (type === 'BOOKMARK') {
      const isEnd = rawObject(annotations)['k8s.io/initial-events-end'] === 'true'
      if (!isEnd) throw new CannotStream('it ignores sendInitialEvents')
      this.#listed(seen, version)
      return undefined
    }
    return seen
  }
}

/** An accepted answer that came to no proper end. */
class BrokenOff extends Error {}

/** The server cannot begin a watch with a list: the feature is off, or what it needs of etcd is missing. */
class CannotStream extends Error {}

/** The server did not answer, or says itself that it cannot. */
function isAway(error: Error): boolean {
  if (error instanceof ApiError) return error.code >= 500
  return !(error instanceof BrokenOff || error instanceof CannotStream)
}

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
