/**
 * Answers to reviews, whatever is in them: bodies are bounded, all together and of each client, and what is large is read in
 * a thread, since reading 3 MiB of ill-meant JSON takes a second.
 */

import type { IncomingMessage } from 'node:http'
import { Shares } from '../observe/http/shares.ts'
import { Offload, OffloadError, workerUrl } from '../worker/offload.ts'
import { review } from './review.ts'

const mib = 1024 * 1024
/** The API server takes objects of at most 3 MiB. */
const longestReview = 3 * mib
/** Of bodies that are being received or read. */
const bodies = { total: 12 * mib, perPeer: 6 * mib }
/** Read at once. */
const small = 64 * 1024
/** The API server waits for 2 s. */
const thread = { idleMs: 10_000, timeoutMs: 1500, heapMb: 48, longestQueue: 4 }

export class Unanswered extends Error {
  readonly status: 400 | 401 | 413 | 503

  constructor(status: Unanswered['status'], message: string) {
    super(message)
    this.status = status
  }
}

export class Reviewer {
  readonly #shares = new Shares(bodies.total, bodies.perPeer)
  readonly #thread = new Offload<Uint8Array, string>(
    workerUrl(import.meta.url, './worker.ts', './review-worker.js'),
    thread,
  )

  /** @throws Unanswered; the rest of the body is left unread then */
  async answer(request: IncomingMessage): Promise<string> {
    const peer = request.socket.remoteAddress ?? ''
    const held = { bytes: 0 }
    try {
      const body = await this.#receive(request, peer, held)
      return body.length <= small ? review(body.toString()) : await this.#thread.run(body)
    } catch (error) {
      if (error instanceof Unanswered) throw error
      if (error instanceof OffloadError && error.kind !== 'memory') throw new Unanswered(503, error.message)
      throw new Unanswered(400, error instanceof OffloadError ? error.message : 'it is no review')
    } finally {
      this.#shares.give(peer, held.bytes)
    }
  }

  stop(): Promise<void> {
    return this.#thread.stop()
  }

  async #receive(request: IncomingMessage, peer: string, held: { bytes: number }): Promise<Buffer> {
    if (Number(request.headers['content-length'] ?? 0) > longestReview) throw tooLong()
    const chunks: Buffer[] = []
    for await (const chunk of request as AsyncIterable<Buffer>) {
      if (held.bytes + chunk.length > longestReview) throw tooLong()
      if (!this.#shares.take(peer, chunk.length)) throw new Unanswered(503, 'too many reviews are being received')
      held.bytes += chunk.length
      chunks.push(chunk)
    }
    return Buffer.concat(chunks)
  }
}

function tooLong(): Unanswered {
  return new Unanswered(413, `it is longer than ${longestReview} bytes`)
}
