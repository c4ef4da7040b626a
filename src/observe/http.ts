/** A small HTTP server for people, scrapers and probes: fixed routes to read, on a TCP port or a Unix socket. */

import { chmodSync, mkdirSync } from 'node:fs'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { dirname } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { hostPort } from '../net/address.ts'
import { limitConnections, requestBounds, type SharedBound, silenceMs } from './http/bounds.ts'
import { Pace } from './http/pace.ts'
import { createServer } from './http/plainhttp.ts'
import { listen, listenUnix } from './http/unixsocket.ts'
import type { Log } from './log.ts'

export interface Answer {
  readonly status: number
  readonly contentType: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body: string | Uint8Array
}

/** `query` are the parameters of the request. */
export type Route = (query: URLSearchParams, request: IncomingMessage) => Answer | Promise<Answer>

/** Answers by path, `*` for every other path. */
export type Routes = Readonly<Record<string, Route>>

export function text(status: number, body: string): Answer {
  return { status, contentType: 'text/plain; charset=utf-8', body: `${body}\n` }
}

export function json(status: number, value: unknown): Answer {
  return { status, contentType: 'application/json', body: `${JSON.stringify(value)}\n` }
}

export interface HttpServer {
  stop(): Promise<void>
}

export interface TcpAddress {
  readonly address: string
  readonly port: number
  /** Keeps `::` from taking every IPv4 address, too. */
  readonly ipv6Only?: boolean
  /** The key and certificate for HTTPS, PEM. */
  readonly tls?: { readonly certificate: string; readonly key: string }
  /** Beside the server's own bound of connections. */
  readonly sharedBound?: SharedBound
}

/** @throws Error that names the address and why it cannot be listened on */
export async function serveTcp(routes: Routes, where: TcpAddress, log: Log): Promise<HttpServer> {
  const { address: host, port, ipv6Only } = where
  const server = await createHttpServer(routes, log, where)
  try {
    await listen(server, { host, port, ipv6Only })
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code !== 'EADDRINUSE') throw error
    throw new Error(`${hostPort(host, port)} is in use by another process`, { cause: message })
  }
  return { stop: () => close(server) }
}

/**
 * Listens for this user and root alone. A socket file that a killed process left is replaced; one that answers belongs
 * to a running agent.
 */
export async function serveUnix(routes: Routes, path: string, log: Log): Promise<HttpServer> {
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 })
  const server = await createHttpServer(routes, log)
  await listenUnix(server, path, 'another agent')
  // Whatever the umask is: whoever may write a socket may connect to it.
  chmodSync(path, 0o600)
  return { stop: () => close(server) }
}

/** Limits a connection whose client sends more requests before it has read the answers. */
const mostInFlight = 8
/** The length of a failed request's path in the log. */
const longestPath = 256

async function createHttpServer(
  routes: Routes,
  log: Log,
  { tls, sharedBound }: Pick<TcpAddress, 'tls' | 'sharedBound'> = {},
): Promise<Server> {
  const pace = new Pace()
  const inFlight = new WeakMap<Socket, number>()
  const handle = async (request: IncomingMessage, response: ServerResponse) => {
    const { socket } = request
    const before = inFlight.get(socket) ?? 0
    if (before >= mostInFlight) return void socket.destroy()
    inFlight.set(socket, before + 1)
    const { status, contentType, headers, body } = await paced(request, routes, pace, log)
    response.once('close', () => inFlight.set(socket, inFlight.get(socket)! - 1))
    response.writeHead(status, { 'content-type': contentType, ...headers }).end(body)
  }
  const server = tls
    ? (await import('node:https')).createServer({ ...requestBounds, cert: tls.certificate, key: tls.key }, handle)
    : createServer(requestBounds, handle)
  server.timeout = silenceMs
  limitConnections(server, undefined, sharedBound)
  return server
}

async function paced(request: IncomingMessage, routes: Routes, pace: Pace, log: Log): Promise<Answer> {
  const client = request.socket.remoteAddress
  const wait = client === undefined ? 0 : pace.wait(client)
  if (wait > 0) await delay(wait)
  try {
    return await answerTo(request, routes)
  } catch (error) {
    log.error({ path: request.url?.slice(0, longestPath), error: String(error) }, 'request failed')
    return text(500, 'the request failed; the log says why')
  }
}

function answerTo(request: IncomingMessage, routes: Routes): Answer | Promise<Answer> {
  const { method, url = '/' } = request
  if (method !== 'GET' && method !== 'HEAD') return text(405, 'only GET is answered here')
  // The URL is not resolved against another: paths such as // would be none.
  const [path = '', query] = url.split('?', 2)
  const route = Object.hasOwn(routes, path) ? routes[path] : routes['*']
  return (
    route?.(new URLSearchParams(query), request) ??
    text(404, `no such page; there are ${Object.keys(routes).join(', ')}`)
  )
}

function close(server: Server): Promise<void> {
  server.closeAllConnections()
  return new Promise(resolve => server.close(() => resolve()))
}
