/**
 * Work on what others wrote that may take long or much memory, in a thread of its own: the event loop goes on meanwhile, and
 * what takes too long or too much ends the thread alone. The thread is started when there is work and ends when it is idle.
 */

import { type ResourceLimits, Worker } from 'node:worker_threads'
import type { Reply } from './serve.ts'

export interface OffloadLimits {
  /** Without work for this long the thread ends and gives its memory back. */
  readonly idleMs: number
  /** Of one piece of work. */
  readonly timeoutMs: number
  /** Of the thread's heap, in MiB. */
  readonly heapMb: number
  /** Pieces that wait; what comes beyond is refused. */
  readonly longestQueue: number
}

/** The piece of work was not taken, or the thread was ended over it: by time or memory. */
export class OffloadError extends Error {
  readonly kind: 'busy' | 'time' | 'memory' | 'stopped'

  constructor(kind: OffloadError['kind'], message: string) {
    super(message)
    this.kind = kind
  }
}

/** One piece at a time, in order. */
export class Offload<Request, Answer> {
  readonly #url: URL
  readonly #limits: OffloadLimits
  #worker: Worker | undefined
  #last: Promise<unknown> = Promise.resolve()
  #queued = 0
  #idle: NodeJS.Timeout | undefined
  #stopped = false

  /** @param url of a module that calls `serve` */
  constructor(url: URL, limits: OffloadLimits) {
    this.#url = url
    this.#limits = limits
  }

  /** @throws OffloadError, or an Error with the message of what the work threw */
  run(request: Request): Promise<Answer> {
    if (this.#queued > this.#limits.longestQueue) {
      return Promise.reject(new OffloadError('busy', 'too much work waits already'))
    }
    this.#queued++
    const done = this.#last.then(() => this.#work(request)).finally(() => this.#queued--)
    this.#last = done.catch(() => undefined)
    return done
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await this.#end()
  }

  async #work(request: Request): Promise<Answer> {
    if (this.#stopped) throw new OffloadError('stopped', 'the work was stopped')
    clearTimeout(this.#idle)
    const worker = this.#start()
    worker.ref()
    const { promise, resolve, reject } = Promise.withResolvers<Answer>()
    const { timeoutMs, idleMs } = this.#limits
    const answered = (reply: Reply<Answer>) =>
      'answer' in reply ? resolve(reply.answer) : reject(new Error(reply.error))
    const failed = (error: NodeJS.ErrnoException) => reject(this.#whyFailed(error))
    const ended = () => reject(new OffloadError('stopped', 'the work was stopped'))
    const timer = setTimeout(
      () => reject(new OffloadError('time', `it takes longer than ${timeoutMs / 1000} s`)),
      timeoutMs,
    )
    worker.once('message', answered).once('error', failed).once('exit', ended)
    worker.postMessage(request)
    try {
      return await promise
    } catch (error) {
      if (error instanceof OffloadError) await this.#end()
      throw error
    } finally {
      clearTimeout(timer)
      worker.off('message', answered).off('error', failed).off('exit', ended)
      worker.unref()
      this.#idle = setTimeout(() => void this.#end(), idleMs).unref()
    }
  }

  #start(): Worker {
    const resourceLimits: ResourceLimits = { maxOldGenerationSizeMb: this.#limits.heapMb }
    this.#worker ??= new Worker(this.#url, { resourceLimits })
    return this.#worker
  }

  #whyFailed(error: NodeJS.ErrnoException): Error {
    const isMemory = error.code === 'ERR_WORKER_OUT_OF_MEMORY'
    return isMemory
      ? new OffloadError('memory', `it takes more than ${this.#limits.heapMb} MiB of memory`)
      : new OffloadError('stopped', error.message)
  }

  async #end(): Promise<void> {
    const worker = this.#worker
    this.#worker = undefined
    await worker?.terminate()
  }
}

/** Of a module beside the one that asks: as source `NAME.ts`, in the bundle an entry of its own (tools/build.ts). */
export function workerUrl(asker: string, source: string, bundled: string): URL {
  return new URL(asker.endsWith('.ts') ? source : bundled, asker)
}
