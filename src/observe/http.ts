/** A small HTTP server for people and scrapers: fixed GET routes, on a TCP port or a Unix socket. */

import { mkdirSync, unlinkSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { connect } from 'node:net'
import { dirname } from 'node:path'
import { hostPort } from '../services/address.ts'
import type { Log } from './log.ts'

export interface Answer {
  readonly status: number
  readonly contentType: string
  readonly body: string
}

/** Answers of a path; `query` are the parameters of the request. */
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

/** @throws Error with object, reason and remedy where the address is taken */
export async function serveTcp(routes: Routes, address: string, port: number, log: Log): Promise<HttpServer> {
  const server = createHttpServer(routes, log)
  try {
    await listen(server, { host: address, port })
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    const reason = code === 'EADDRINUSE' ? 'the address is in use by another process' : message
    throw new Error(`HTTP server on ${hostPort(address, port)}: ${reason}; stop that process or choose another port`)
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

function createHttpServer(routes: Routes, log: Log): Server {
  return createServer(async (request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://agent')
    const route = Object.hasOwn(routes, pathname) ? routes[pathname] : undefined
    let answer: Answer
    try {
      if (request.method !== 'GET') answer = text(405, 'only GET is answered here')
      else if (route) answer = await route(searchParams)
      else answer = text(404, `no such page; there are ${Object.keys(routes).join(', ')}`)
    } catch (error) {
      log.error({ path: pathname, error: String(error) }, 'request failed')
      answer = text(500, String(error))
    }
    response.writeHead(answer.status, { 'content-type': answer.contentType }).end(answer.body)
  })
}

function listen(server: Server, where: { host: string; port: number } | { path: string }): Promise<void> {
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
