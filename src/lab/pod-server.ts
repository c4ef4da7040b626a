/**
 * Runs the servers inside a pod, one process for each pod:
 *
 *     pod-server --name whoami-1a --http 80 --tcp 7 --udp 53
 *
 * http: tells who it is and what it was asked (see `whoami`). Beside that:
 *   /healthz                      200, also while faulty
 *   /data?size=BYTES              that many bytes
 *   /delay?ms=MS                  answers after that time
 *   /status?code=CODE             answers so
 *   POST /fault?status=500        answers so from now on, on all paths but these two; `&percent=20`: that share of the requests
 *   POST /fault?delay=MS          answers after that time from now on, on the same paths
 *   POST /fault                   answers normally again
 * What asks for an upgrade to websocket gets everything back as it comes, after the name and a colon.
 * tcp: its name and a line end on connecting, then everything back as it comes.
 * udp: its name, a space and the datagram.
 *
 * Writes the word `ready` and closes stdout once all of them listen.
 */

import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createTcpServer } from 'node:net'
import { networkInterfaces } from 'node:os'
import { parseArgs } from 'node:util'

const { values: flags } = parseArgs({
  options: {
    name: { type: 'string', default: 'pod' },
    http: { type: 'string', multiple: true, default: [] },
    tcp: { type: 'string', multiple: true, default: [] },
    udp: { type: 'string', multiple: true, default: [] },
  },
})

const largestData = 64 * 1024 * 1024
const fault = { status: 200, percent: 0, delayMs: 0 }

function answer(request: IncomingMessage, response: ServerResponse): void {
  const url = new URL(request.url ?? '/', 'http://pod')
  const number = (key: string, otherwise: number) => Number(url.searchParams.get(key) ?? otherwise)
  // Tells load clients which pod answered and which layer served, also where the body does not.
  response.setHeader('X-Hostname', flags.name)
  response.setHeader('X-Layer', request.headers['x-envoy-attempt-count'] === undefined ? 'kernel' : 'envoy')

  if (url.pathname === '/healthz') return void response.end('ok\n')
  if (url.pathname === '/fault' && request.method === 'POST') {
    fault.status = number('status', 200)
    fault.percent = fault.status === 200 ? 0 : number('percent', 100)
    fault.delayMs = number('delay', 0)
    return void response.end(`answering ${fault.status} to ${fault.percent} % of requests, after ${fault.delayMs} ms\n`)
  }
  if (fault.delayMs > 0) setTimeout(() => answerTo(request, response, url), fault.delayMs)
  else answerTo(request, response, url)
}

function answerTo(request: IncomingMessage, response: ServerResponse, url: URL): void {
  const number = (key: string, otherwise: number) => Number(url.searchParams.get(key) ?? otherwise)
  if (Math.random() * 100 < fault.percent) {
    response.statusCode = fault.status
    return void response.end(`${flags.name} is told to fail\n`)
  }
  if (url.pathname === '/data') return void response.end(Buffer.alloc(Math.min(number('size', 1024), largestData), '.'))
  if (url.pathname === '/delay') return void setTimeout(() => response.end(whoami(request)), number('ms', 0))
  if (url.pathname === '/status') response.statusCode = number('code', 200)
  response.end(whoami(request))
}

/** Answers as traefik/whoami does, whose output users of the original know. */
function whoami(request: IncomingMessage): string {
  const { remoteAddress = '', remotePort, localAddress } = request.socket
  const ips = Object.values(networkInterfaces()).flatMap(addresses => addresses?.map(({ address }) => address) ?? [])
  const headers: string[] = []
  for (let i = 0; i < request.rawHeaders.length; i += 2)
    headers.push(`${titleCase(request.rawHeaders[i]!)}: ${request.rawHeaders[i + 1]}`)
  const host = headers.filter(header => header.startsWith('Host: '))
  const rest = headers.filter(header => !header.startsWith('Host: ')).sort()
  const remote = localAddress?.includes('.') ? remoteAddress.replace('::ffff:', '') : `[${remoteAddress}]`
  return [
    `Hostname: ${flags.name}`,
    ...ips.filter(address => !address.startsWith('fe80:')).map(address => `IP: ${address}`),
    `RemoteAddr: ${remote}:${remotePort}`,
    `${request.method} ${request.url} HTTP/${request.httpVersion}`,
    ...host,
    ...rest,
    '',
  ].join('\n')
}

/** x-envoy-attempt-count → X-Envoy-Attempt-Count */
function titleCase(header: string): string {
  return header.toLowerCase().replace(/(^|-)[a-z]/g, letter => letter.toUpperCase())
}

async function listen(): Promise<void> {
  for (const port of flags.http) {
    // Idle connections stay open, so that a test sees only what others close.
    const shouldUpgradeCallback = ({ headers }: IncomingMessage) => headers.upgrade === 'websocket'
    const server = createHttpServer({ keepAliveTimeout: 0, shouldUpgradeCallback }, answer).listen(Number(port))
    server.on('upgrade', (_, socket) => {
      socket.on('error', () => socket.destroy())
      socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n')
      socket.on('data', (bytes: Buffer) => socket.write(`${flags.name}: ${bytes}`))
    })
    await once(server, 'listening')
  }
  for (const port of flags.tcp) {
    const server = createTcpServer(socket => {
      socket.on('error', () => socket.destroy())
      socket.write(`${flags.name}\n`)
      socket.pipe(socket)
    }).listen(Number(port))
    await once(server, 'listening')
  }
  for (const port of flags.udp) {
    const socket = createSocket('udp6')
    socket.on('message', (message, { address, port }) => socket.send(`${flags.name} ${message}`, port, address))
    socket.bind(Number(port))
    await once(socket, 'listening')
  }
}

await listen()
process.stdout.end('ready\n')
