/** lb-policy PEAK_EWMA: the module in native/, in the stock Envoy on loopback. */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { Agent, createServer as createHttpServer, get, type Server } from 'node:http'
import { connect, createServer, type Http2Server, type ServerHttp2Stream } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, beforeEach, type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { type RunningEnvoy, serve, servicePort } from '../envoy/envoy.ts'

const run = promisify(execFile)

/** How an endpoint answers, and what it was asked. */
interface Behaviour {
  delayMs: number
  status: number
  grpcStatus: number
  requests: number
}

interface Endpoint extends Behaviour {
  readonly http1: number
  readonly http2: number
}

const well = { delayMs: 1, status: 200, grpcStatus: 0, requests: 0 }
const ends: (() => unknown)[] = []
let endpoints: readonly Endpoint[]
let envoy: RunningEnvoy
let ports: {
  readonly http1: number
  readonly http2: number
  readonly grpc: number
  readonly only: number
  readonly spilling: number
}

before(async () => {
  endpoints = await Promise.all(Array.from({ length: 6 }, startEndpoint))
  const directory = await mkdtemp(join(tmpdir(), 'lightpath-latencies-'))
  ends.unshift(() => rm(directory, { recursive: true }))
  const settings = { lbPolicy: 'PEAK_EWMA', retryEnabled: false } as const
  const http1 = await servicePort(
    'http1',
    'http',
    endpoints.map(endpoint => endpoint.http1),
    settings,
  )
  const only = await servicePort('only', 'http', [endpoints[5]!.http1], settings)
  const http2 = await servicePort(
    'http2',
    'http',
    endpoints.map(endpoint => endpoint.http2),
    settings,
  )
  const grpc = await servicePort(
    'grpc',
    'grpc',
    endpoints.map(endpoint => endpoint.http2),
    settings,
  )
  const near = await servicePort(
    'spilling',
    'http',
    endpoints.slice(0, 2).map(endpoint => endpoint.http1),
    settings,
  )
  const spilling = { ...near, spillOver: endpoints.slice(2).map(({ http1 }) => ({ ip: '127.0.0.1', port: http1 })) }
  const states = [http1, http2, grpc, only, spilling]
  envoy = await serve({ after: end => void ends.unshift(end) }, states, { latencies: directory })
  const names = ['http1', 'http2', 'grpc', 'only', 'spilling'] as const
  ports = Object.fromEntries(states.map(({ port }, n) => [names[n]!, port.port])) as typeof ports
})

beforeEach(() => {
  for (const endpoint of endpoints) Object.assign(endpoint, well)
})

after(async () => {
  for (const end of ends) await end()
})

const shares = () => endpoints.map(({ requests }) => requests).join(' ')

for (const protocol of ['http1', 'http2'] as const) {
  test(`${protocol}: an endpoint that takes far longer gets little`, async () => {
    const [slow] = endpoints as [Endpoint]
    // Longer than the others wait for a core.
    slow.delayMs = 400
    await load(protocol, 300)
    assert.ok(slow.requests < 25, shares())
    assert.ok(
      endpoints.slice(1).every(({ requests }) => requests > 0),
      shares(),
    )
  })
}

test('an endpoint that was slow gets its share again', async () => {
  const slow = endpoints[3]!
  slow.delayMs = 10
  await load('http1', 200)
  Object.assign(slow, well)
  for (let tries = 0; slow.requests < 60; tries++) {
    assert.ok(tries < 80, shares())
    await load('http1', 100)
  }
})

test('an endpoint that answers 503 at once draws no requests', async () => {
  const [bad] = endpoints as [Endpoint]
  Object.assign(bad, { delayMs: 0, status: 503 })
  for (const endpoint of endpoints.slice(1)) endpoint.delayMs = 10
  await load('http1', 400)
  assert.ok(bad.requests < 50, shares())
})

test('nor does one that answers calls of gRPC with UNAVAILABLE at once', async () => {
  const bad = endpoints[1]!
  Object.assign(bad, { delayMs: 0, grpcStatus: 14 })
  for (const endpoint of endpoints) if (endpoint !== bad) endpoint.delayMs = 10
  await load('grpc', 400)
  assert.ok(bad.requests < 50, shares())
})

test('while an endpoint stands still requests go to the others', async () => {
  const frozen = endpoints[2]!
  await load('http1', 100)
  frozen.requests = 0
  frozen.delayMs = 1000
  await load('http1', 200)
  assert.ok(frozen.requests < 15, shares())
})

test('endpoints of other zones are asked as far as those of this one are slow', async () => {
  const [near, far] = [endpoints.slice(0, 2), endpoints.slice(2)]
  const requests = (some: readonly Endpoint[]) => some.reduce((sum, { requests }) => sum + requests, 0)
  for (const endpoint of far) endpoint.delayMs = 100
  await load('spilling', 200)
  assert.ok(requests(far) < 50, shares())
  for (const endpoint of near) endpoint.delayMs = 1000
  // By these it is seen that they are slow now.
  await load('spilling', 150)
  for (const endpoint of endpoints) endpoint.requests = 0
  await load('spilling', 200)
  assert.ok(requests(far) > 150, shares())
})

// This one comes late: what failed is remembered for a while.
test('where all endpoints fail alike, each request is answered by one all the same', async () => {
  for (const endpoint of endpoints) endpoint.status = 503
  assert.equal(await load('http1', 300), 300)
  assert.equal(
    endpoints.reduce((sum, { requests }) => sum + requests, 0),
    300,
  )
  assert.equal(await load('only', 100), 100)
  assert.equal(endpoints[5]!.requests > 100, true)
})

test('Envoy has nothing to complain of', () => {
  assert.doesNotMatch(envoy.output(), /dynamic module|ABI/)
})

for (const [architecture, machine] of [
  ['amd64', 62],
  ['arm64', 183],
] as const) {
  test(`the module for ${architecture} has what Envoy calls`, {
    skip: process.getuid!() !== 0 && 'needs root',
  }, async () => {
    const { stdout } = await run(join(import.meta.dirname, '../../../tools/module'), [architecture])
    const library = await readFile(join(stdout.trim(), 'liblightpath.so'))
    // ELF's e_machine.
    assert.equal(library.readUInt16LE(18), machine)
    for (const call of ['lb_choose_host', 'access_logger_log', 'http_filter_new', 'network_filter_new'])
      assert.ok(library.includes(`envoy_dynamic_module_on_${call}\0`), call)
  })
}

for (const sanitizers of ['address,undefined', 'thread']) {
  test(`random clusters, requests and outcomes in three workers, under sanitizers: ${sanitizers}`, t =>
    runHarness(t, 'ewma', sanitizers, ['100000']))
}

test('in virtual time, without a busy machine, slow, stalling and far endpoints get what the aims of the bench say', t =>
  runHarness(t, 'simulation', 'address,undefined'))

/** Builds one of native/test and runs it: its seed, these words, and a directory of its own. */
async function runHarness(t: TestContext, name: string, sanitizers: string, words: readonly string[] = []) {
  const directory = await mkdtemp(join(tmpdir(), 'lightpath-native-'))
  t.after(() => rm(directory, { recursive: true }))
  const harness = join(directory, 'harness')
  const build = join(import.meta.dirname, '../../../native/test/build')
  await run(build, [name, harness], { env: { ...process.env, SANITIZE: sanitizers } })
  const seed = process.env.LIGHTPATH_SEED ?? String(Date.now() % 1_000_000)
  await assert.doesNotReject(run(harness, [seed, ...words, directory]), `seed ${seed}`)
}

/**
 * 200 requests a second, and fewer where the machine is busy: many at once would go to all alike.
 * @returns how many endpoints have answered, whatever
 */
async function load(to: keyof typeof ports, count: number): Promise<number> {
  const ask = to === 'http2' || to === 'grpc' ? askByHttp2(ports[to], to === 'grpc') : askByHttp1(ports[to])
  const answers: Promise<boolean>[] = []
  for (let sent = 0; sent < count; sent++) {
    answers.push(ask.once())
    await sleep(5)
  }
  const answered = (await Promise.all(answers)).filter(Boolean).length
  ask.end()
  return answered
}

interface Asking {
  /** Whether an endpoint has answered. */
  once(): Promise<boolean>
  end(): void
}

function askByHttp1(port: number): Asking {
  const agent = new Agent({ keepAlive: true })
  const once = () =>
    new Promise<boolean>(resolve => {
      const request = get({ port, host: '127.0.0.1', agent }, response => {
        response.resume().on('end', () => resolve(response.headers['x-endpoint'] !== undefined))
      })
      request.on('error', () => resolve(false))
    })
  return { once, end: () => agent.destroy() }
}

function askByHttp2(port: number, isGrpc: boolean): Asking {
  const session = connect(`http://127.0.0.1:${port}`)
  const headers = isGrpc ? { ':method': 'POST', 'content-type': 'application/grpc', te: 'trailers' } : {}
  const once = () =>
    new Promise<boolean>(resolve => {
      const stream = session.request({ ':path': '/', ...headers })
      let answered = false
      stream.on('response', response => (answered = response['x-endpoint'] !== undefined))
      stream.on('close', () => resolve(answered)).on('error', () => undefined)
      stream.resume().end()
    })
  return { once, end: () => session.destroy() }
}

async function startEndpoint(): Promise<Endpoint> {
  const behaviour: Behaviour = { ...well }
  const http1 = createHttpServer((_, response) => {
    behaviour.requests++
    setTimeout(() => {
      response.writeHead(behaviour.status, { 'x-endpoint': 'yes' }).end('ok')
    }, behaviour.delayMs)
  })
  const http2 = createServer()
  http2.on('stream', (stream: ServerHttp2Stream) => {
    behaviour.requests++
    const grpc = { 'content-type': 'application/grpc', 'grpc-status': behaviour.grpcStatus }
    setTimeout(() => {
      if (stream.destroyed) return
      stream.respond({ ':status': behaviour.status, 'x-endpoint': 'yes', ...grpc }, { endStream: true })
    }, behaviour.delayMs)
  })
  return Object.assign(behaviour, { http1: await listen(http1), http2: await listen(http2) })
}

async function listen(server: Server | Http2Server): Promise<number> {
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  ends.push(() => {
    server.close()
    if ('closeAllConnections' in server) server.closeAllConnections()
  })
  return (server.address() as AddressInfo).port
}
