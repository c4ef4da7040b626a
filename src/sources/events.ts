/**
 * Sends notes as Events on their objects, for `kubectl get events` and `kubectl describe service`. Best effort: an
 * Event that the API server does not take is dropped and counted, and nothing waits for it.
 *
 * As in client-go, an object may have 25 Events at once and one more every five minutes; those beyond are dropped. All
 * objects together have 100 at once and ten a second; 1000 more wait, and namespaces take turns (notequeue.ts). A note that is sent once has an Event whose name is made from
 * its content, so that other nodes, or the next run of this one, find it there while the API server keeps it (an hour).
 */

import { createHash, randomUUID } from 'node:crypto'
import { setTimeout } from 'node:timers/promises'
import type { Log } from '../observe/log.ts'
import { Buckets } from '../observe/rates/buckets.ts'
import type { Note } from '../services/note.ts'
import { printable } from '../text/printable.ts'
import { ApiError, ApiServer } from './api-server.ts'
import { NoteQueue } from './notequeue.ts'

export interface EventOptions {
  readonly kubeconfig?: string
  /** Where what tells runs: a node, or a pod. */
  readonly host: string
  /**
   * Finds the uid of a Service or Pod, without which `kubectl describe` does not show its Events; undefined for an
   * unknown one.
   */
  readonly uidOf: (kind: string, namespace: string, name: string) => string | undefined | Promise<string | undefined>
  readonly log: Log
}

const bucketOfObject = { burst: 25, refillMs: 300_000 }
const bucketOfAll = { burst: 100, refillMs: 100 }
const longestQueue = 1000
const timeoutMs = 10_000
/** A problem of an object comes before the object itself: until then its uid is not known. */
const patienceMs = 100
/** The limit of an Event's message in the API server's validation. */
const longestMessage = 1024

export class EventRecorder {
  readonly #options: EventOptions
  readonly #api: ApiServer
  readonly #stopping = new AbortController()
  readonly #buckets = new Buckets(bucketOfObject)
  readonly #all = new Buckets(bucketOfAll)
  readonly #queue = new NoteQueue(longestQueue)
  #worker: Promise<void> | undefined
  #dropped = 0

  constructor(options: EventOptions) {
    this.#options = options
    this.#api = new ApiServer(options.kubeconfig, timeoutMs)
  }

  /**
   * How many Events were dropped: of too talkative objects, at the bound of the queue, or refused by the API server.
   */
  get dropped(): number {
    return this.#dropped
  }

  /** Notes of other objects than Services, Pods and Nodes become no Events. */
  record(note: Note): void {
    if (this.#stopping.signal.aborted || !involvedObject(note)) return
    if (this.#buckets.take(note.object) === undefined) {
      this.#dropped++
      return
    }
    if (this.#queue.add(note)) this.#dropped++
    this.#worker ??= this.#work()
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    if (this.#dropped > 0) this.#options.log.warn({ dropped: this.#dropped }, 'Events were dropped')
    await this.#worker
  }

  async #work(): Promise<void> {
    const { signal } = this.#stopping
    const pause = (ms: number) => setTimeout(ms, undefined, { signal }).catch(() => {})
    await pause(patienceMs)
    for (let next = this.#queue.take(); next && !signal.aborted; next = this.#queue.take()) {
      await this.#create(next)
      while (!signal.aborted && this.#all.take('') === undefined) await pause(bucketOfAll.refillMs)
    }
    this.#worker = undefined
  }

  async #create(note: Note): Promise<void> {
    const { uidOf, host } = this.#options
    try {
      const involved = involvedObject(note)!
      const { kind, namespace, name } = involved
      const uid = namespace === undefined ? name : await uidOf(kind, namespace, name)
      const event = eventOf(note, { ...involved, uid }, host)
      const signal = AbortSignal.any([this.#stopping.signal, AbortSignal.timeout(timeoutMs)])
      await this.#api.create(`/api/v1/namespaces/${event.metadata.namespace}/events`, event, signal)
    } catch (error) {
      const isTold = note.once !== undefined && error instanceof ApiError && error.code === 409
      if (isTold) return
      this.#dropped++
      this.#api.forgetCredentials()
      const reason = (error as Error).message
      this.#options.log.debug({ object: note.object, dropped: this.#dropped, error: reason }, 'Event dropped')
    }
  }
}

type Involved = NonNullable<ReturnType<typeof involvedObject>> & { readonly uid: string | undefined }

/** v1 Event. */
function eventOf(note: Note, involved: Involved, host: string) {
  const now = new Date().toISOString()
  return {
    apiVersion: 'v1',
    kind: 'Event',
    metadata: {
      namespace: involved.namespace ?? 'default',
      name: `${involved.name}.${identityOf(note, involved, host)}`,
    },
    involvedObject: involved,
    type: note.type,
    reason: note.reason,
    message: printable(note.message).slice(0, longestMessage),
    source: { component: 'lightpath', host },
    firstTimestamp: now,
    lastTimestamp: now,
    count: 1,
  }
}

/**
 * Undefined for an object that has no Events. Nodes are found by their name in place of their uid, as in the kubelet's
 * Events.
 */
function involvedObject({ object }: Note) {
  const [, kind, namespace, name] = /^(Service|Pod|Node) (?:([^/]+)\/)?([^/]+)$/.exec(object) ?? []
  return kind === undefined || name === undefined ? undefined : { apiVersion: 'v1', kind, namespace, name }
}

function identityOf(note: Note, { uid = '' }: Pick<Involved, 'uid'>, host: string): string {
  if (note.once === undefined) return randomUUID().slice(0, 13)
  const teller = note.once === 'node' ? host : ''
  const told = [uid, teller, note.reason, note.message].join('\n')
  return createHash('sha256').update(told).digest('hex').slice(0, 16)
}
