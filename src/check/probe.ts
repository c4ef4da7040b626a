/**
 * Runs in the pods of `lightpath check`: one answers requests and says which layer they came through, the others send
 * them to the addresses of its Service.
 */

import { createServer, get } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'

export const layers = ['envoy', 'kernel'] as const
export type Layer = (typeof layers)[number]

/** A request of a pod to an address that the layer is to serve. */
export interface RequestResult {
  readonly url: string
  readonly layer: Layer
  /** Latency in milliseconds; undefined where no answer came through the right layer. */
  readonly ms?: number
  readonly error?: string
}

export const serverPort = 8080
/** How long it may take until both layers on every node serve a new Service. */
const limitMs = 20_000
const answerMs = 3000
const againMs = 300

/** Answers until it is ended. Envoy counts tries in a header; the kernel layer adds nothing. */
export function answerRequests(): void {
  const server = createServer(({ headers }, response) => {
    const layer: Layer = headers['x-envoy-attempt-count'] === undefined ? 'kernel' : 'envoy'
    response.end(layer)
  })
  server.listen(serverPort, '::')
  process.once('SIGTERM', () => process.exit(0))
}

/**
 * Tries each address until it is served as it should be, over a new connection each time, and then once more to measure
 * the time: the first requests wait for what a new pod and a new Service have to wait for.
 */
export function askAll(targets: readonly Pick<RequestResult, 'url' | 'layer'>[]): Promise<readonly RequestResult[]> {
  const deadline = performance.now() + limitMs
  return Promise.all(targets.map(target => askUntil(target, deadline)))
}

async function askUntil(
  { url, layer }: Pick<RequestResult, 'url' | 'layer'>,
  deadline: number,
): Promise<RequestResult> {
  let isKnown = false
  for (;;) {
    const began = performance.now()
    const answer = await ask(url).catch((error: Error) => error)
    const ms = performance.now() - began
    if (answer === layer && isKnown) return { url, layer, ms }
    if (answer === layer) {
      isKnown = true
      continue
    }
    const error = answer instanceof Error ? answer.message : wrongWay(answer)
    if (performance.now() > deadline) return { url, layer, error }
    await sleep(againMs)
  }
}

function wrongWay(answer: string): string {
  return answer === 'kernel' ? 'it is answered, by the kernel layer' : 'it is answered, through Envoy'
}

function ask(url: string): Promise<string> {
  const signal = AbortSignal.timeout(answerMs)
  return new Promise((resolve, reject) => {
    const fail = (error: Error) => reject(signal.aborted ? new Error(`no answer within ${answerMs / 1000} s`) : error)
    get(url, { agent: false, signal }, response => {
      let text = ''
      response.setEncoding('utf8').on('data', (part: string) => {
        text += part
      })
      response.on('error', fail).on('end', () => {
        if (response.statusCode === 200) resolve(text)
        else reject(new Error(`HTTP ${response.statusCode}: ${text.slice(0, 200)}`))
      })
    }).on('error', fail)
  })
}
