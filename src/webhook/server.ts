/** The HTTPS server that the API server asks about new Services. */

import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Certificates, Served } from '../certificates/certificate.ts'
import { limitConnections, requestBounds } from '../observe/http/bounds.ts'
import type { Log } from '../observe/log.ts'
import type { Clients } from './clients.ts'
import { Reviewer, Unanswered } from './reviewer.ts'

export interface WebhookOptions {
  readonly certificates: Certificates
  /** undefined for all, of both families. */
  readonly address: string | undefined
  /** 0 for any that is free. */
  readonly port: number
  /** Between looks at the certificate, also after one that failed. */
  readonly everyMs: number
  /** Who may ask; undefined for whoever can reach the webhook. */
  readonly clients?: Clients
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
/** The API server waits for 2 s, and asks about each Service on a connection of its own where several are created at once. */
const bounds = { ...requestBounds, requestTimeout: 5000, handshakeTimeout: 5000, keepAliveTimeout: keepAliveMs }
const mostConnections = { total: 512, perPeer: 128 }

export async function startWebhook(options: WebhookOptions): Promise<Webhook> {
  const { clients } = options
  let served: Served | undefined
  let isLeaving = false
  const reviewer = new Reviewer()
  // Probes have no certificate.
  const certificates = { requestCert: clients !== undefined, rejectUnauthorized: false }
  const server = createServer({ ...bounds, ...certificates }, async (request, response) => {
    const { status, body } =
      request.method === 'GET' ? health(request, served !== undefined) : await answer(request, options, reviewer)
    // Probes need not keep their connection, and of a body that was refused the rest is left unread.
    if (isLeaving || request.method === 'GET' || status !== 200) response.setHeader('connection', 'close')
    response.writeHead(status, { 'content-type': 'application/json' }).end(body)
  })
  limitConnections(server, mostConnections)
  const serve = ({ certificate, key }: Served) => {
    served = { certificate, key }
    server.setSecureContext({ cert: certificate, key, ca: clients?.authorities })
  }
  const lookAtCertificate = options.certificates(serve)
  const look = async () => {
    await lookAtCertificate()
    if (clients?.look() && served) serve(served)
  }
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
      await reviewer.stop()
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

interface Reply {
  readonly status: number
  readonly body: string
}

function health({ url }: IncomingMessage, isReady: boolean): Reply {
  return { status: url === '/healthz' && isReady ? 200 : 404, body: '' }
}

async function answer(request: IncomingMessage, { clients, log }: WebhookOptions, reviewer: Reviewer): Promise<Reply> {
  // Once the client has gone there is no socket.
  const client = request.socket.remoteAddress
  try {
    if (clients && !clients.mayAsk(request.socket)) throw new Unanswered(401, 'it has no certificate that may ask')
    return { status: 200, body: await reviewer.answer(request) }
  } catch (error) {
    const { message } = error as Error
    log.warn({ client, error: message }, 'a request was not answered')
    return { status: error instanceof Unanswered ? error.status : 400, body: '' }
  }
}

function close(server: Server): Promise<void> {
  return new Promise(resolve => {
    server.close(() => resolve())
    server.closeIdleConnections()
  })
}
