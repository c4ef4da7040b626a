/** Envoy on loopback with the configuration of a few Service ports, endpoints to serve them, and a client that sees bytes. */

import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { staticBootstrap } from '../../../src/envoy/bootstrap/static.ts'
import { findEnvoy } from '../../../src/envoy/program/find.ts'
import { startEnvoy } from '../../../src/envoy/program/process.ts'
import { adminSocket, canarySocket, type UnixAddress, xdsSocket } from '../../../src/envoy/program/sockets.ts'
import type { Resource } from '../../../src/envoy/resource.ts'
import { configurationOf, type PublishOptions } from '../../../src/envoy/resources/resources.ts'
import { envoyModule } from '../../../src/lab/command-lines.ts'
import { hostPort } from '../../../src/net/address.ts'
import { AccessLog } from '../../../src/observe/accesslog/accesslog.ts'
import type { PortState } from '../../../src/plan/ports/port.ts'
import type { Problem } from '../../../src/services/problem.ts'
import { defaultSettings } from '../../../src/services/settings/definitions.ts'
import type { EnvoyProtocol } from '../../../src/services/settings/envoyprotocol.ts'
import type { Settings } from '../../../src/services/settings/settings.ts'
import { startXdsServer } from '../../../src/xds/server.ts'
import type { XdsObserver } from '../../../src/xds/session.ts'
import { ResourceStore } from '../../../src/xds/store.ts'

export async function envoyPath(): Promise<string> {
  const found = await findEnvoy()
  if (!found.ok) throw new Error(found.problem.reason)
  return found.path
}

/** Below those that the kernel gives (32768 and up), so that nobody gets it before it is used; each one once. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = nextPort++
    const server = createServer()
    const isFree = await listen(server, port).then(
      () => true,
      () => false,
    )
    server.close()
    if (isFree) return port
  }
}

/** Files that run at once begin far from each other: else two could find the same port free. */
let nextPort = 12_000 + ((process.pid * 151) % 15_000)

async function listen(server: Server, port = 0): Promise<number> {
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(port, '127.0.0.1', resolve))
  return (server.address() as AddressInfo).port
}

/** A Service port whose VIP is a port of loopback. */
export async function servicePort(
  name: string,
  protocol: EnvoyProtocol,
  endpointPorts: readonly number[],
  settings: Partial<Settings> = {},
): Promise<PortState> {
  return {
    id: `test/${name}/${protocol}`,
    namespace: 'test',
    name,
    port: { name: protocol, protocol: 'TCP', port: await freePort() },
    family: 'IPv4',
    vip: '127.0.0.1',
    settings: { ...defaultSettings, ...settings },
    layer: { wants: 'envoy', protocol, reason: 'test' },
    endpoints: endpointPorts.map(port => ({ ip: '127.0.0.1', port })),
    noLocalEndpoints: false,
    servingEndpoints: [],
    affinitySeconds: undefined,
    external: undefined,
  }
}

export interface RunningEnvoy {
  readonly pid: number
  readonly admin: UnixAddress
  readonly canary: UnixAddress
  /** The access log's lines so far. */
  accessLog(): readonly AccessLogLine[]
  /** What the agent hears beside, each with its Service port. */
  readonly observations: readonly Readonly<Record<string, string>>[]
  /** Lines that it does not have, by Service port. */
  readonly leftOut: ReadonlyMap<string, number>
  /** What Envoy itself has written. */
  output(): string
  /** What is wrong with the access log. */
  readonly problems: ReadonlyMap<string, readonly Problem[]>
}

export type AccessLogLine = Readonly<Record<string, string | number | null>>

/** A test, or all of a file. */
interface Ends {
  after(end: () => unknown): void
}

interface ServeOptions extends PublishOptions {
  /** Whether VIPs are bound, so that they can be connected to. Default true. */
  readonly bind?: boolean
  /** See `BootstrapOptions`. */
  readonly heapBytes?: number
  /** Lines a second of a Service port. Default more than any. */
  readonly accessLogRate?: number
  /** The directory of the module. Default: of the one that ships. */
  readonly module?: string
  /** Changes each resource before Envoy gets it. */
  readonly change?: (resource: Resource) => Resource
}

/** Takes the access log of an Envoy, as the agent does, until the test ends. */
async function startAccessLog(t: Ends, directory: string, states: readonly PortState[], rate = 10_000) {
  const frontends = new Map(states.map(({ id, vip, port }) => [hostPort(vip, port.port), id]))
  const lines: string[] = []
  const leftOut = new Map<string, number>()
  const problems = new Map<string, readonly Problem[]>()
  const observations: Readonly<Record<string, string>>[] = []
  const log = new AccessLog({
    rate,
    servicePortAt: address => frontends.get(address),
    write: line => lines.push(line),
    onObservation: (service, record) => observations.push({ ...Object.fromEntries(record.fields()), service }),
    onLeftOut: port => leftOut.set(port, (leftOut.get(port) ?? 0) + 1),
    onProblems: (origin, found) => problems.set(origin, found),
  })
  const store = new ResourceStore()
  const server = await startXdsServer({
    storeOf: () => store,
    path: xdsSocket(directory),
    observer: nobody,
    log: { info() {}, warn() {} },
    onAccessLog: request => log.take(request),
  })
  t.after(() => {
    log.stop()
    return server.stop()
  })
  return { lines, leftOut, problems, observations }
}

export const nobody: XdsObserver = {
  connected() {},
  acknowledged() {},
  gone() {},
  nacked() {},
  settled() {},
  active() {},
  unknown() {},
  disconnected() {},
}

/** Serves the Service ports until the test ends. */
export async function serve(
  t: Ends,
  states: readonly PortState[],
  {
    bind = true,
    heapBytes,
    accessLogRate,
    module: given,
    hasModule = true,
    change = same => same,
    ...options
  }: ServeOptions = {},
): Promise<RunningEnvoy> {
  const directory = await mkdtemp(join(tmpdir(), 'lightpath-envoy-'))
  t.after(() => rm(directory, { recursive: true, force: true }))
  const resources = configurationOf(states, { ...options, hasModule }).map(change)
  const bootstrap = staticBootstrap(
    resources,
    { node: 'test', mark: 0, adminPort: 0, sockets: directory, heapBytes },
    bind,
  )
  const [program, module] = await Promise.all([envoyPath(), given ?? envoyModule()])
  const envoy = await startEnvoy(program, bootstrap, directory, { module })
  t.after(() => envoy.stop())
  const { lines, ...cut } = await startAccessLog(t, directory, states, accessLogRate)
  const accessLog = () => lines.map(line => JSON.parse(line) as AccessLogLine)
  const [admin, canary] = [adminSocket({ directory }, 1), canarySocket({ directory }, 1)]
  return { pid: envoy.pid, admin, canary, accessLog, output: () => readFileSync(envoy.logFile, 'utf8'), ...cut }
}

export interface TestEndpoint {
  readonly port: number
  /** Stops listening and resets what is connected, as a killed process does. */
  kill(): void
}

/** An endpoint that is given its connections as they are. */
export async function rawEndpoint(t: TestContext, onConnection: (socket: Socket) => void): Promise<TestEndpoint> {
  const server = createServer({ allowHalfOpen: true }, onConnection)
  return endpoint(t, server, await listen(server))
}

export async function httpEndpoint(
  t: TestContext,
  onRequest: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<TestEndpoint> {
  const server = createHttpServer({ maxHeaderSize: 2 ** 20 }, onRequest)
  server.maxHeadersCount = 0
  return endpoint(t, server, await listen(server))
}

function endpoint(t: TestContext, server: Server, port: number): TestEndpoint {
  const sockets = new Set<Socket>()
  server.on('connection', socket => {
    sockets.add(socket)
    socket.on('error', () => undefined).on('close', () => sockets.delete(socket))
  })
  const kill = () => {
    server.close()
    for (const socket of sockets) socket.resetAndDestroy()
  }
  t.after(kill)
  return { port, kill }
}

export interface RawClient {
  send(bytes: string | Buffer): void
  /** Ends this side only. */
  end(): void
  reset(): void
  /** What has come so far. */
  readonly received: string
  /** What ended the connection; undefined while it is open. */
  readonly ended: 'end' | 'reset' | undefined
  /** Resolves with all that has come once it contains the text; throws after 30 s. */
  until(text: string): Promise<string>
  untilEnd(): Promise<string>
}

/** A client that sends and sees bytes, not messages. */
export async function client(
  t: TestContext,
  port: number,
  host = '127.0.0.1',
  localAddress?: string,
): Promise<RawClient> {
  const socket = connect({ host, port, localAddress, allowHalfOpen: true })
  t.after(() => socket.destroy())
  let received = ''
  let ended: RawClient['ended']
  socket.setEncoding('latin1')
  socket.on('data', (chunk: string) => {
    received += chunk
  })
  socket.on('end', () => {
    ended ??= 'end'
  })
  socket.on('error', () => {
    ended ??= 'reset'
  })
  await new Promise<void>(resolve => socket.once('connect', resolve).once('error', () => resolve()))
  return {
    send: bytes => void socket.write(bytes, 'latin1'),
    end: () => void socket.end(),
    reset: () => void socket.resetAndDestroy(),
    get received() {
      return received
    },
    get ended() {
      return ended
    },
    until: async text => {
      await eventually(
        () => received.includes(text),
        () => `${JSON.stringify(text)} in ${JSON.stringify(received)}`,
      )
      return received
    },
    untilEnd: async () => {
      await eventually(
        () => ended !== undefined,
        () => `the end after ${JSON.stringify(received)}`,
      )
      return received
    },
  }
}

/** Sends a request on a connection of its own, and returns all that comes until the connection ends. */
export async function exchange(t: TestContext, port: number, request: string, host?: string): Promise<string> {
  const raw = await client(t, port, host)
  raw.send(request)
  return raw.untilEnd()
}

export async function eventually(holds: () => boolean | Promise<boolean>, what: () => string): Promise<void> {
  for (let i = 0; i < 1500; i++) {
    if (await holds()) return
    await sleep(20)
  }
  throw new Error(`waited 30 s for ${what()}`)
}
