/** What a user's Services may cost Envoy. */

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { bootstrap } from '../../../src/envoy/bootstrap/bootstrap.ts'
import { adminPage } from '../../../src/envoy/program/admin.ts'
import { startEnvoy } from '../../../src/envoy/program/process.ts'
import { adminSocket, xdsSocket } from '../../../src/envoy/program/sockets.ts'
import { type Resource, type ResourceRef, refKey } from '../../../src/envoy/resource.ts'
import { configurationOf } from '../../../src/envoy/resources/resources.ts'
import { envoyModule } from '../../../src/lab/command-lines.ts'
import { get } from '../../../src/observe/http/plainhttp.ts'
import { aPortState } from '../../../src/plan/testing.ts'
import { defaultSettings } from '../../../src/services/settings/definitions.ts'
import { startXdsServer } from '../../../src/xds/server.ts'
import { ResourceStore } from '../../../src/xds/store.ts'
import {
  envoyPath,
  eventually,
  exchange,
  freePort,
  httpEndpoint,
  nobody,
  rawEndpoint,
  serve,
  servicePort,
} from './envoy.ts'

/** Resident, in kB. */
function memoryOf(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1])
}

/** An Envoy as a node has it, which gets its resources from this store. Returns what it has allocated, in kB. */
async function publisher(t: TestContext) {
  const directory = await mkdtemp(join(tmpdir(), 'lightpath-bounds-'))
  t.after(() => rm(directory, { recursive: true, force: true }))
  const store = new ResourceStore()
  const missing = new Set<string>()
  const acknowledged = (_: number, refs: readonly ResourceRef[]) => {
    for (const ref of refs) missing.delete(refKey(ref))
  }
  const server = await startXdsServer({
    storeOf: () => store,
    path: xdsSocket(directory),
    observer: { ...nobody, acknowledged },
    log: { info() {}, warn() {} },
  })
  t.after(() => server.stop())
  const options = { node: 'test', mark: 0, adminPort: 0, sockets: directory }
  const envoy = await startEnvoy(await envoyPath(), bootstrap(options), directory, { module: await envoyModule() })
  t.after(() => envoy.stop())
  return async (put: readonly Resource[]) => {
    const isNew = ({ typeUrl, name, version }: Resource) => store.get(typeUrl, name)?.version !== version
    for (const resource of put.filter(isNew)) missing.add(refKey(resource))
    store.update({ put })
    await eventually(
      () => missing.size === 0,
      () => `${missing.size} acknowledgements`,
    )
    const allocated = async () => {
      const memory = await adminPage(adminSocket({ directory }, 1), '/memory')
      return Number(JSON.parse(memory!).allocated) / 1000
    }
    // What was needed on the way is freed within a second or two, or later where the machine is busy.
    await sleep(2000)
    for (let before = await allocated(); ; ) {
      await sleep(500)
      const now = await allocated()
      if (now > before * 0.999) return now
      before = now
    }
  }
}

/** What a port number costs that only one Service port has, in kB. */
async function portNumberCost(t: TestContext, hasModule: boolean): Promise<number> {
  const count = 500
  const publish = await publisher(t)
  const ports = (block: number, portNumber: (i: number) => number) => {
    const states = Array.from({ length: count }, (_, i) =>
      aPortState({
        id: `a/s${block}/http-${i}`,
        vip: `127.${block}.${i >> 8}.${i & 255}`,
        port: { name: `http-${i}`, protocol: 'TCP', port: portNumber(i) },
      }),
    )
    return publish(configurationOf(states, { hasModule }))
  }
  const none = await ports(8, () => 20_000)
  const one = await ports(9, () => 20_000)
  const many = await ports(10, i => 20_001 + i)
  return (many - one - (one - none)) / count
}

test('a port number that only one Service port has costs Envoy nothing, with the module and without', async t => {
  const [without, withModule] = await Promise.all([false, true].map(hasModule => portNumberCost(t, hasModule)))
  assert.ok(without! < 1 && withModule! < 1, `${without} and ${withModule} kB`)
})

test('a line of the access log has what matters of a request, however much of it a client writes', async t => {
  const { port: endpoint } = await httpEndpoint(t, (_, response) => response.writeHead(500).end())
  const state = await servicePort('failing', 'http', [endpoint])
  const { accessLog } = await serve(t, [state])
  // What has a first line of more than 64 kB is passed on as TCP.
  const much = 'x'.repeat(50_000)
  const headers = `Host: ${much}\r\nX-Request-Id: ${much}\r\nConnection: close\r\n\r\n`
  await exchange(t, state.port.port, `GET /${much} HTTP/1.1\r\n${headers}`)
  await eventually(
    () => accessLog().length > 0,
    () => 'a line',
  )
  const [line] = accessLog()
  assert.equal(line!.path, `/${'x'.repeat(255)}`)
  assert.ok(JSON.stringify(line).length < 1200, JSON.stringify(line))
})

test('a Service port that fails all the time has so many lines in the access log, and costs another none of its own', async t => {
  const { port: endpoint } = await httpEndpoint(t, (_, response) => response.writeHead(500).end())
  // On one listener.
  const port = { name: 'http', protocol: 'TCP', port: await freePort() } as const
  const states = ['loud', 'quiet'].map((namespace, i) =>
    aPortState({
      id: `${namespace}/s/http`,
      vip: `127.9.8.${i + 1}`,
      port,
      endpoints: [{ ip: '127.0.0.1', port: endpoint }],
      settings: { ...defaultSettings, retryEnabled: false },
    }),
  )
  const { accessLog, leftOut, problems, output } = await serve(t, states, { accessLogRate: 2 })
  // What is no UTF-8 is no reason for a line of Envoy's own either.
  const [loud, quiet] = states.map(
    ({ vip }) =>
      () =>
        askOnce(vip, port.port, 'X-Request-Id: \xff\xfe\r\n'),
  )
  const linesOf = (service: string) => accessLog().filter(line => line.service === service)
  for (let i = 0; i < 10; i++) await Promise.all(Array.from({ length: 20 }, loud!))
  for (let i = 0; i < 5; i++) await quiet!()
  await eventually(
    () => linesOf('quiet/s/http').length === 5,
    () => JSON.stringify(accessLog()),
  )
  // Each worker has a stream of its own for them.
  await eventually(
    () => linesOf('loud/s/http').length + (leftOut.get('loud/s/http') ?? 0) === 200,
    () => JSON.stringify([...leftOut]),
  )
  const { length } = linesOf('loud/s/http')
  // 20 at once and two a second.
  assert.ok(length >= 20 && length < 100, `${length} lines`)
  assert.deepEqual([...leftOut.keys()], ['loud/s/http'])
  const [told] = problems.get('access log loud/s/http')!
  assert.deepEqual([told!.code, told!.object], ['LP306', 'Service loud/s'])
  assert.equal(problems.size, 1)
  assert.equal(output(), '')
})

/** A request with a connection of its own; the header's characters are bytes. Resolves when it has ended. */
function askOnce(address: string, port: number, header: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, address)
    socket.write(`GET / HTTP/1.1\r\nHost: a\r\n${header}Connection: close\r\n\r\n`, 'latin1')
    socket.on('error', reject).on('close', () => resolve())
    socket.resume()
  })
}

/** Requests whose headers never end, 240 kB each. Ends them. */
function unfinished(t: TestContext, port: number, count: number): () => void {
  const lines = Array.from({ length: 15 }, (_, i) => `X-${i}: ${'y'.repeat(16_000)}\r\n`)
  const sockets = Array.from({ length: count }, () => {
    const socket = connect(port, '127.0.0.1').on('error', () => undefined)
    socket.write(`GET / HTTP/1.1\r\nHost: a\r\n${lines.join('')}`)
    return socket
  })
  const end = () => {
    for (const socket of sockets) socket.destroy()
  }
  t.after(end)
  return end
}

test('a request or an answer with more headers than Envoy looks at in one go is refused', async t => {
  const { port } = await rawEndpoint(t, socket => {
    socket.once('data', head => {
      const length = head.includes('/long') ? 300_000 : 1
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Long: ${'x'.repeat(length)}\r\n\r\n`)
    })
  })
  const state = await servicePort('long', 'http', [port], { numRetries: 0 })
  await serve(t, [state])
  const ask = (path: string, length: number) =>
    exchange(
      t,
      state.port.port,
      `GET ${path} HTTP/1.1\r\nHost: a\r\nX-Long: ${'x'.repeat(length)}\r\nConnection: close\r\n\r\n`,
    )
  assert.match(await ask('/', 200_000), /^HTTP\/1\.1 200 /)
  assert.match(await ask('/', 300_000), /^HTTP\/1\.1 431 /)
  assert.match(await ask('/long', 1), /^HTTP\/1\.1 50\d /)
})

test('much of the memory of requests goes back to the node when they are over', async t => {
  const state = await servicePort('large', 'http', [9])
  const { pid } = await serve(t, [state])
  const before = memoryOf(pid)
  const ends: (() => void)[] = []
  await eventually(
    () => {
      if (memoryOf(pid) > before + 150_000) return true
      ends.push(unfinished(t, state.port.port, 50))
      return false
    },
    () => `${memoryOf(pid) - before} kB more`,
  )
  for (const end of ends) end()
  await eventually(
    () => memoryOf(pid) < before + 120_000,
    () => `${memoryOf(pid) - before} kB more`,
  )
})

test('an Envoy that is short of memory says so, and serves on, each connection for an answer', async t => {
  const { port: endpoint } = await httpEndpoint(t, (_, response) => response.end('ok'))
  const state = await servicePort('full', 'http', [endpoint])
  const { canary: address } = await serve(t, [state], { heapBytes: 128 * 1024 ** 2 })
  const canary = () =>
    new Promise<string>((resolve, reject) => {
      const options = { socketPath: address.path, agent: false, headers: { connection: 'keep-alive' } }
      const query = get(options, response => {
        resolve(`${response.statusCode} ${response.headers.connection}`)
        response.resume()
      })
      query.on('error', reject)
    })
  assert.equal(await canary(), '200 undefined')
  await eventually(
    async () => {
      unfinished(t, state.port.port, 10)
      return (await canary()) === '200 close'
    },
    () => 'an answer that ends the connection',
  )
  const answer = await exchange(t, state.port.port, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  assert.match(answer, /^HTTP\/1\.1 200 (.|\r|\n)*\r\nConnection: close\r\n/)
})
