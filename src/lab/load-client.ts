/**
 * Sends HTTP load from inside a pod, on keep-alive connections; writes a LoadReport as JSON when done or on SIGTERM:
 *
 *     load-client --url http://10.96.0.10/ --connections 4 --requests 1000       as fast as the answers come
 *     load-client --url http://10.96.0.10/ --connections 20 --rate 500           a steady 500 requests/s, until SIGTERM
 *
 * With --fresh every request has a new TCP connection, still so many at a time. At a rate, the latency of a request that
 * had to wait for a free connection counts from when it was due.
 */

import { Agent, type ClientRequest, type IncomingMessage, request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { type Sample, summarise } from './load-report.ts'

/** Bounds this process's memory; a client that gets there reports and ends. */
const mostRequests = 1_000_000

const { values: flags } = parseArgs({
  options: {
    url: { type: 'string', default: 'http://127.0.0.1/' },
    method: { type: 'string', default: 'GET' },
    connections: { type: 'string', default: '1' },
    requests: { type: 'string', default: String(mostRequests) },
    rate: { type: 'string' },
    fresh: { type: 'boolean', default: false },
    'timeout-ms': { type: 'string', default: '10000' },
  },
})

const total = Math.min(Number(flags.requests), mostRequests)
const intervalMs = flags.rate === undefined ? 0 : 1000 / Number(flags.rate)
const timeoutMs = Number(flags['timeout-ms'])
const samples: Sample[] = []
const start = performance.now()
let taken = 0
let stopped = false

process.once('SIGTERM', () => {
  stopped = true
})
// From now on it can be stopped; JSON may have white space before it.
process.stdout.write('\n')

/** Takes the requests in order, whichever connection is free. */
async function connection(number: number): Promise<void> {
  const agent = new Agent({ keepAlive: !flags.fresh, maxSockets: 1 })
  while (taken < total && !stopped) {
    const due = start + taken++ * intervalMs
    const early = due - performance.now()
    if (early > 0) await sleep(early)
    if (stopped) break
    const from = early > 0 || intervalMs === 0 ? performance.now() : due
    const outcome = await ask(agent)
    samples.push({
      at: Math.round(performance.timeOrigin + from),
      ms: performance.now() - from,
      connection: number,
      ...outcome,
    })
  }
  agent.destroy()
}

type Outcome = Pick<Sample, 'endpoint' | 'layer' | 'error'>

function ask(agent: Agent): Promise<Outcome> {
  const { promise, resolve } = Promise.withResolvers<Outcome>()
  const failed = (error: NodeJS.ErrnoException) => resolve({ error: error.code ?? error.message })
  const outgoing: ClientRequest = request(flags.url, { agent, method: flags.method, timeout: timeoutMs }, response => {
    const endpoint = String(response.headers['x-hostname'] ?? 'unknown')
    const layer = layerOf(response)
    const status = response.statusCode ?? 0
    response.on('error', failed)
    response.on('end', () => resolve(status < 400 ? { endpoint, layer } : { endpoint, layer, error: `HTTP ${status}` }))
    response.resume()
  })
  outgoing.on('error', failed)
  outgoing.on('timeout', () => outgoing.destroy(Object.assign(new Error('no answer in time'), { code: 'TIMEOUT' })))
  outgoing.end()
  return promise
}

/** The layer that the endpoint reports; where it reports none, by what Envoy adds to answers. */
function layerOf({ headers }: IncomingMessage): string {
  return String(headers['x-layer'] ?? (headers['x-envoy-upstream-service-time'] === undefined ? 'kernel' : 'envoy'))
}

await Promise.all(Array.from({ length: Number(flags.connections) }, (_, number) => connection(number)))
process.stdout.end(JSON.stringify(summarise(samples)))
