/** Sends requests to the Kubernetes API with the credentials of a kubeconfig or of the pod. */

import type { IncomingMessage } from 'node:http'
import { type RequestOptions, request } from 'node:https'
import { isRawObject } from '../text/raw.ts'
import type { KubeConfig } from './kube-config.ts'

/** The server's refusal: a status other than 200, or a Status object in a stream. */
export class ApiError extends Error {
  readonly code: number
  /** How long the server asks to be left alone. */
  readonly retryAfterMs: number | undefined

  constructor(code: number, message: string, retryAfterMs?: number) {
    super(message)
    this.code = code
    this.retryAfterMs = retryAfterMs
  }
}

export type Query = Readonly<Record<string, string | number | boolean | undefined>>

const mib = 1024 * 1024
/** Etcd holds objects of 1.5 MiB; a page holds 500 of them at most, and a real one a few MiB. */
const longestLine = 64 * mib
const longestBody = 256 * mib
const longestRefusal = 64 * 1024
const readyMs = 5000
/**
 * The longest pause between tries of a connection: each waits twice as long as the one before, and nothing ends that on
 * the machine's return.
 */
const connectMs = 10_000

export class ApiServer {
  readonly #kubeconfig: string | undefined
  readonly #quietMs: number
  #config: KubeConfig | undefined
  #address: string | undefined

  /** @param quietMs a connection on which nothing arrives for this long is given up */
  constructor(kubeconfig: string | undefined, quietMs: number) {
    this.#kubeconfig = kubeconfig
    this.#quietMs = quietMs
  }

  /** The server's name for messages; with the address once that is known. */
  get name(): string {
    return this.#address ? `Kubernetes API ${this.#address}` : 'Kubernetes API'
  }

  /** Makes the next request read kubeconfig, token and certificates again, since they may have been replaced. */
  forgetCredentials(): void {
    this.#config = undefined
  }

  /** The lines of a stream as they arrive, as many together as there are. Throws ApiError, or what broke the connection. */
  async *lines(path: string, query: Query, signal: AbortSignal): AsyncGenerator<readonly string[]> {
    const body = await this.#get(path, query, signal)
    // The server has accepted, even if it has nothing to say yet.
    yield []
    let rest: Buffer[] = []
    let restLength = 0
    for await (const chunk of body as AsyncIterable<Buffer>) {
      const end = chunk.lastIndexOf(0x0a)
      rest.push(end < 0 ? chunk : chunk.subarray(0, end))
      restLength += chunk.length
      if (restLength > longestLine) throw new Error(`an event is longer than ${longestLine / mib} MiB`)
      if (end < 0) continue
      const text = Buffer.concat(rest).toString()
      rest = [chunk.subarray(end + 1)]
      restLength = rest[0]!.length
      yield text.split('\n').filter(line => line !== '')
    }
  }

  /** Returns an answer that is one JSON value. */
  async json(path: string, query: Query, signal: AbortSignal): Promise<unknown> {
    return JSON.parse(await text(await this.#get(path, query, signal), longestBody))
  }

  /**
   * Asks whether the server is ready. False also where it does not say so within some seconds; a server that refuses
   * the question is.
   */
  async isReady(signal: AbortSignal): Promise<boolean> {
    try {
      const answered = await this.#get('/readyz', {}, AbortSignal.any([signal, AbortSignal.timeout(readyMs)]))
      answered.resume()
      return true
    } catch (error) {
      return error instanceof ApiError && error.code < 500 && error.code !== 429
    }
  }

  /** Creates an object. Throws ApiError, or what broke the connection. */
  async create(path: string, object: unknown, signal: AbortSignal): Promise<void> {
    await text(await this.#send(path, {}, signal, JSON.stringify(object)), longestBody)
  }

  #get(path: string, query: Query, signal: AbortSignal): Promise<IncomingMessage> {
    return this.#send(path, query, signal)
  }

  /** Sends a GET, or a POST of a body. */
  async #send(path: string, query: Query, signal: AbortSignal, body?: string): Promise<IncomingMessage> {
    const { loadKubeConfig, serverOf } = await import('./kube-config.ts')
    this.#config ??= loadKubeConfig(this.#kubeconfig)
    const server = serverOf(this.#config)
    this.#address = server
    const url = new URL(server)
    url.pathname = `${url.pathname.replace(/\/$/, '')}${path}`
    for (const [key, value] of Object.entries(query)) if (value !== undefined) url.searchParams.set(key, String(value))
    const credentials: RequestOptions = {}
    await this.#config.applyToHTTPSOptions(credentials)
    const type = body === undefined ? {} : { 'content-type': 'application/json' }
    const headers = { ...credentials.headers, ...type, accept: 'application/json', 'user-agent': 'lightpath' }
    const method = body === undefined ? 'GET' : 'POST'
    const response = await answer(url, { ...credentials, method, headers, signal, timeout: this.#quietMs }, body)
    if (response.statusCode === (body === undefined ? 200 : 201)) return response
    throw await refusal(response)
  }
}

function answer(url: URL, options: RequestOptions, body?: string): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const asked = request(url, options)
    let answered: IncomingMessage | undefined
    asked.on('error', reject)
    asked.on('timeout', () => {
      const silence = new Error(`the connection has been silent for ${Math.round(options.timeout! / 1000)} s`)
      const half = answered ?? asked
      half.destroy(silence)
    })
    asked.on('socket', socket => {
      socket.setKeepAlive(true, 15_000)
      if (!socket.connecting) return
      const tooLong = () => asked.destroy(new Error(`no connection within ${connectMs / 1000} s`))
      const timer = setTimeout(tooLong, connectMs).unref()
      for (const event of ['secureConnect', 'close']) socket.once(event, () => clearTimeout(timer))
    })
    asked.on('response', response => {
      answered = response
      resolve(response)
    })
    asked.end(body)
  })
}

async function text(body: AsyncIterable<Buffer>, longest: number): Promise<string> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of body) {
    chunks.push(chunk)
    length += chunk.length
    if (length > longest) throw new Error(`the answer is longer than ${longest} bytes`)
  }
  return Buffer.concat(chunks).toString()
}

async function refusal(response: IncomingMessage): Promise<ApiError> {
  const body = await text(response, longestRefusal)
  const retryAfter = Number(response.headers['retry-after'])
  const retryAfterMs = Number.isFinite(retryAfter) ? retryAfter * 1000 : undefined
  return new ApiError(response.statusCode ?? 0, statusMessage(body), retryAfterMs)
}

/** Returns the message of a Status object, else the text itself. */
function statusMessage(body: string): string {
  try {
    const status: unknown = JSON.parse(body)
    if (isRawObject(status) && typeof status.message === 'string') return status.message
  } catch {
    // Not from the API server itself, but from something before it.
  }
  return body.slice(0, 200).trim()
}
