/**
 * Problems of Services and of the node as Events on them, for `kubectl get events`. Best effort: an Event that the API server does not
 * take is dropped and counted, and nothing waits for it.
 *
 * As in client-go, an object may have 25 Events at once and one more every five minutes; what is beyond is dropped. The
 * queue holds 1000; at its bound the oldest is dropped.
 */

import { randomUUID } from 'node:crypto'
import type { Log } from '../observe/log.ts'
import { formatProblem, type Problem } from '../services/problem.ts'
import { ApiServer } from './api-server.ts'

export interface EventOptions {
  readonly kubeconfig?: string
  readonly nodeName: string
  readonly log: Log
}

const burst = 25
const refillMs = 300_000
const longestQueue = 1000
const mostObjects = 4096
const timeoutMs = 10_000
/** Of an Event, by validation of the API server. */
const longestMessage = 1024

interface Bucket {
  tokens: number
  since: number
}

export class EventRecorder {
  readonly #options: EventOptions
  readonly #api: ApiServer
  readonly #stopping = new AbortController()
  /** By object; the one that was longest without an Event comes first. */
  readonly #buckets = new Map<string, Bucket>()
  readonly #queue: Problem[] = []
  #worker: Promise<void> | undefined
  #dropped = 0

  constructor(options: EventOptions) {
    this.#options = options
    this.#api = new ApiServer(options.kubeconfig, timeoutMs)
  }

  /** How many Events were dropped: of too talkative objects, at the bound of the queue, or refused by the API server. */
  get dropped(): number {
    return this.#dropped
  }

  /** Only problems of Services and Nodes become Events. */
  record(problem: Problem): void {
    if (this.#stopping.signal.aborted || !eventObject.test(problem.object)) return
    if (!this.#mayTell(problem.object)) {
      this.#dropped++
      return
    }
    this.#queue.push(problem)
    if (this.#queue.length > longestQueue) {
      this.#queue.shift()
      this.#dropped++
    }
    this.#worker ??= this.#work()
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    if (this.#dropped > 0) this.#options.log.warn({ dropped: this.#dropped }, 'Events were dropped')
    await this.#worker
  }

  #mayTell(object: string): boolean {
    const now = performance.now()
    const { tokens, since } = this.#buckets.get(object) ?? { tokens: burst, since: now }
    const refilled = Math.min(burst, tokens + (now - since) / refillMs)
    const may = refilled >= 1
    this.#buckets.delete(object)
    this.#buckets.set(object, { tokens: may ? refilled - 1 : refilled, since: now })
    if (this.#buckets.size > mostObjects) this.#buckets.delete(this.#buckets.keys().next().value!)
    return may
  }

  async #work(): Promise<void> {
    for (let next = this.#queue.shift(); next && !this.#stopping.signal.aborted; next = this.#queue.shift()) {
      const event = eventOf(next, this.#options.nodeName)
      try {
        const signal = AbortSignal.any([this.#stopping.signal, AbortSignal.timeout(timeoutMs)])
        await this.#api.create(`/api/v1/namespaces/${event.metadata.namespace}/events`, event, signal)
      } catch (error) {
        this.#dropped++
        this.#api.forgetCredentials()
        this.#options.log.debug(
          { object: next.object, dropped: this.#dropped, error: (error as Error).message },
          'Event dropped',
        )
      }
    }
    this.#worker = undefined
  }
}

/** `Service default/web`, `Node node1`. */
const eventObject = /^(Service|Node) (?:([^/]+)\/)?([^/]+)$/

/**
 * v1 Event. Without the uid of the Service: `kubectl get events` shows it, `kubectl describe service` does not. A Node's
 * Events are in the namespace default and take its name as uid, as kubelet's do.
 */
function eventOf(problem: Problem, nodeName: string) {
  const [, kind, namespace = 'default', name = ''] = eventObject.exec(problem.object)!
  const now = new Date().toISOString()
  return {
    apiVersion: 'v1',
    kind: 'Event',
    metadata: { namespace, name: `${name}.${randomUUID().slice(0, 13)}` },
    involvedObject: { apiVersion: 'v1', kind, name, ...(kind === 'Node' ? { uid: name } : { namespace }) },
    type: 'Warning',
    reason: reasonOf(problem),
    message: formatProblem(problem).slice(0, longestMessage),
    source: { component: 'lightpath', host: nodeName },
    firstTimestamp: now,
    lastTimestamp: now,
    count: 1,
  }
}

function reasonOf({ code }: Problem): string {
  if (code === 'LP211') return 'VIPTaken'
  if (code === 'LP301') return 'RefusedByEnvoy'
  if (code === 'LP401') return 'RefusedByKernel'
  if (code === 'LP502') return 'FailedToStartServiceHealthcheck'
  if (code === 'LP402') return 'PathToEnvoyBlocked'
  return code.startsWith('LP20') ? 'InvalidSetting' : 'InvalidService'
}
