/** The HTTPS server that the API server asks about new Services. */

import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Log } from '../observe/log.ts'
import { rawObject } from '../services/raw.ts'
import { admit } from './admit.ts'

/** A certificate and its key, PEM. */
export interface Served {
  readonly certificate: string
  readonly key: string
}

export interface WebhookOptions {
  /** Makes what looks after the certificate; it tells which is to be served from then on. */
  readonly certificates: (use: (served: Served) => void) => () => Promise<void>
  /** undefined for all, of both families. */
  readonly address: string | undefined
  /** 0 for any that is free. */
  readonly port: number
  /** Between looks at the certificate, also after one that failed. */
  readonly everyMs: number
  readonly log: Log
}

export interface Webhook {
  readonly port: number
  /** Answers for so long, on connections that end with their answer; then ends. */
  stop(afterMs?: number): Promise<void>
}

/**
 * The API server keeps an idle connection for 90 s. It never repeats a review that it has sent on one that is closed at that
 * moment, but creates the Service without asking again, so this side must not be the first that closes.
 */
const keepAliveMs = 120_000
/** The API server sends objects of at most 3 MiB. */
const longestReview = 8 * 1024 * 1024

export async function startWebhook(options: WebhookOptions): Promise<Webhook> {
  const { log } = options
  let isReady = false
  let isLeaving = false
  const server = createServer((request, response) => {
    answer(request, isReady).then(
      ({ status, body }) => {
        if (isLeaving) response.setHeader('connection', 'close')
        response.writeHead(status, { 'content-type': 'application/json' }).end(body)
      },
      error => {
        log.warn({ error: String(error) }, 'a request was not answered')
        response.writeHead(400).end()
      },
    )
  })
  const look = options.certificates(({ certificate, key }) => {
    server.setSecureContext({ cert: certificate, key })
    isReady = true
  })
  server.keepAliveTimeout = keepAliveMs
  server.listen(options.port, options.address)
  await once(server, 'listening')
  const stopping = new AbortController()
  const looking = keepLooking(look, options, stopping.signal)
  return {
    port: (server.address() as AddressInfo).port,
    stop: async (afterMs = 0) => {
      stopping.abort()
      isLeaving = true
      await sleep(afterMs)
      await Promise.all([looking, close(server)])
    },
  }
}

async function keepLooking(look: () => Promise<void>, { everyMs, log }: WebhookOptions, signal: AbortSignal) {
  while (!signal.aborted) {
    try {
      await look()
    } catch (error) {
      log.warn({ error: (error as Error).message }, 'the certificate was not looked after; it is tried again')
    }
    await sleep(everyMs, undefined, { signal }).catch(() => undefined)
  }
}

async function answer(request: IncomingMessage, isReady: boolean): Promise<{ status: number; body: string }> {
  if (request.method === 'GET') return { status: request.url === '/healthz' && isReady ? 200 : 404, body: '' }
  const review: unknown = JSON.parse(await read(request))
  // The API server has left out namespaces that opted out: the configuration's namespaceSelector.
  const patch = admit(review, {})
  const { uid } = rawObject(rawObject(review).request)
  const change = { patchType: 'JSONPatch', patch: Buffer.from(JSON.stringify(patch)).toString('base64') }
  const response = { uid, allowed: true, ...(patch.length > 0 && change) }
  const body = JSON.stringify({ apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview', response })
  return { status: 200, body }
}

async function read(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    chunks.push(chunk)
    length += chunk.length
    if (length > longestReview) throw new Error(`a review is longer than ${longestReview} bytes`)
  }
  return Buffer.concat(chunks).toString()
}

function close(server: Server): Promise<void> {
  return new Promise(resolve => {
    server.close(() => resolve())
    server.closeIdleConnections()
  })
}
