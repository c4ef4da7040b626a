/** A small HTTP server for people, scrapers and probes: fixed routes to read, on a TCP port or a Unix socket. */

import { mkdirSync, unlinkSync } from 'node:fs'
import type { IncomingMessage, Server } from 'node:http'
import { connect, type ListenOptions } from 'node:net'
import { dirname } from 'node:path'
import { hostPort } from '../services/address.ts'
import { limitConnections, requestBounds, silenceMs } from './http/bounds.ts'
import type { Log } from './log.ts'
import { createServer } from './plainhttp.ts'

export interface Answer {
  readonly status: number
  readonly contentType: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body: string
}

/** Answers by path, `*` for every other path; `query` are the parameters of the request. */
export type Routes = Readonly<Record<string, (query: URLSearchParams) => Answer | Promise<Answer>>>

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
  /** Keeps `::` from taking every address of IPv4, too. */
  readonly ipv6Only?: boolean
}

/** @throws Error that names the address and why it cannot be listened on */
export async function serveTcp(routes: Routes, where: TcpAddress, log: Log): Promise<HttpServer> {
  const { address: host, port, ipv6Only } = where
  const server = createHttpServer(routes, log)
  try {
    await listen(server, { host, port, ipv6Only })
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code !== 'EADDRINUSE') throw error
    throw new Error(`${hostPort(host, port)} is in use by another process`, { cause: message })
  }
  return { stop: () => close(server) }
}

/** A socket file that a killed process left is replaced; one that answers belongs to a running agent. */
export async function serveUnix(routes: Routes, path: string, log: Log): Promise<HttpServer> {
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 })
  if (await answers(path)) throw new Error(`socket ${path}: another agent uses it; stop it or choose another --socket`)
  unlinkIfThere(path)
  const server = createHttpServer(routes, log)
  await listen(server, { path })
  return { stop: () => close(server) }
}

/** Of a request that failed, in the log. */
const longestPath = 256

function createHttpServer(routes: Routes, log: Log): Server {
  const server = createServer(requestBounds, async (request, response) => {
    let answer: Answer
    try {
      answer = await answerTo(request, routes)
    } catch (error) {
      log.error({ path: request.url?.slice(0, longestPath), error: String(error) }, 'request failed')
      answer = text(500, 'the request failed; the log says why')
    }
    const headers = { 'content-type': answer.contentType, ...answer.headers }
    response.writeHead(answer.status, headers).end(answer.body)
  })
  server.timeout = silenceMs
  limitConnections(server)
  return server
}

function answerTo({ method, url = '/' }: IncomingMessage, routes: Routes): Answer | Promise<Answer> {
  if (method !== 'GET' && method !== 'HEAD') return text(405, 'only GET is answered here')
  // No URL is resolved against another: paths such as // would be none.
  const [path = '', query] = url.split('?', 2)
  const route = Object.hasOwn(routes, path) ? routes[path] : routes['*']
  return route?.(new URLSearchParams(query)) ?? text(404, `no such page; there are ${Object.keys(routes).join(', ')}`)
}

function listen(server: Server, where: ListenOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(where, () => {
      server.off('error', reject)
      resolve()
    })
  })
}

function close(server: Server): Promise<void> {
  server.closeAllConnections()
  return new Promise(resolve => server.close(() => resolve()))
}

function answers(path: string): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(path)
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })
}

function unlinkIfThere(path: string): void {
  try {
    unlinkSync(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
}
