import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { waitFor } from '../../lab/wait.ts'
import { silentLog } from '../../sources/testing.ts'
import { serveTcp, serveUnix, text } from '../http.ts'
import { limitConnections } from './bounds.ts'
import { Connections } from './connections.ts'

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

async function start(t: TestContext): Promise<number> {
  const port = await freePort()
  const server = await serveTcp({ '/': () => text(200, 'ok') }, { address: '127.0.0.1', port }, silentLog)
  t.after(() => server.stop())
  return port
}

async function open(t: TestContext, port: number, localAddress = '127.0.0.1'): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', localAddress })
  t.after(() => socket.destroy())
  socket.on('error', () => {})
  await once(socket, 'connect')
  return socket
}

/** Returns what comes back until the server ends the connection. */
async function answer(socket: Socket): Promise<string> {
  let answered = ''
  socket.on('data', chunk => (answered += chunk))
  await once(socket, 'close')
  return answered
}

test('a peer that opens many connections gets some, and others are answered', async t => {
  const port = await start(t)
  const held = await Promise.all(Array.from({ length: 300 }, () => open(t, port)))
  const alive = () => held.filter(socket => !socket.destroyed && !socket.closed).length
  for (let tries = 0; alive() > 32 && tries < 40; tries++) await delay(50)
  assert.equal(alive(), 32)
  const other = await open(t, port, '127.0.0.2')
  other.write('GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n')
  assert.match(await answer(other), /^HTTP\/1\.1 200 /)
})

/** A server that greets whom it takes. */
async function greeter(
  t: TestContext,
  ...bounds: [Parameters<typeof limitConnections>[1], Parameters<typeof limitConnections>[2]?]
) {
  const server = createServer().listen(0, '127.0.0.1')
  t.after(() => server.close())
  await once(server, 'listening')
  limitConnections(server, ...bounds)
  server.on('connection', socket => socket.destroyed || socket.write('here'))
  const { port } = server.address() as AddressInfo
  return async (localAddress: string) => {
    const socket = await open(t, port, localAddress)
    const [end] = await Promise.race([once(socket, 'data'), once(socket, 'close')])
    return { socket, said: String(end) }
  }
}

const areOpen = (all: readonly { readonly socket: Socket }[]) => all.filter(({ socket }) => !socket.closed).length

test('however many connections others hold, probes of this host are answered', async t => {
  const ask = await greeter(t, { total: 8, perPeer: 4 })
  const others = ['127.0.0.2', '127.0.0.3', '127.0.0.4'].flatMap(address => Array(4).fill(address))
  const all = await Promise.all(others.map(ask))
  await waitFor('eight', 20_000, () => areOpen(all) === 8)
  assert.equal((await ask('127.0.0.1')).said, 'here')
})

test('where all places are taken, who comes gets one of whoever has most', async t => {
  const ask = await greeter(t, { total: 8, perPeer: 8 })
  const held = await Promise.all(Array(8).fill('127.0.0.2').map(ask))
  assert.equal(areOpen(held), 8)
  assert.equal((await ask('127.0.0.3')).said, 'here')
  await waitFor('one fewer', 20_000, () => areOpen(held) === 7)
})

test('servers may share a bound, of which each owner has a share, whoever connects', async t => {
  const connections = new Connections(6)
  const ports = await Promise.all(
    ['greedy', 'greedy', 'modest'].map(owner => greeter(t, { total: 8, perPeer: 8 }, { connections, owner })),
  )
  const peers = ['127.0.0.2', '127.0.0.3', '127.0.0.4', '127.0.0.5']
  const held = await Promise.all([...peers.map(ports[0]!), ...peers.map(ports[1]!)])
  await waitFor('six', 20_000, () => areOpen(held) === 6)
  const others = [await ports[2]!('127.0.0.2'), await ports[2]!('127.0.0.3')]
  assert.deepEqual(
    others.map(({ said }) => said),
    ['here', 'here'],
  )
  await waitFor('four', 20_000, () => areOpen(held) === 4)
  assert.equal(areOpen(others), 2)
})

test('large headers, and headers that never come, end the connection', async t => {
  const port = await start(t)
  const large = await open(t, port)
  large.write(`GET / HTTP/1.1\r\nx: ${'x'.repeat(20_000)}\r\n`)
  assert.match(await answer(large), /^HTTP\/1\.1 431 /)
  const [silent, slow] = [await open(t, port), await open(t, port)]
  slow.write('GET / HTTP/1.1\r\nx: ')
  // The server ends both within seconds: else the test's time limit does.
  for (const socket of [silent, slow]) assert.match(await answer(socket), /^(HTTP\/1\.1 408 .*)?/)
})

test('a storm of requests is answered slowly, and others at once', async t => {
  const port = await start(t)
  const began = performance.now()
  let answers = 0
  for (let i = 0; i < 16; i++) {
    const socket = await open(t, port)
    const ask = () => socket.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n')
    socket.on('data', () => {
      answers++
      ask()
    })
    ask()
  }
  await delay(2000)
  const other = await open(t, port, '127.0.0.2')
  other.write('GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n')
  assert.match(await answer(other), /^HTTP\/1\.1 200 /)
  const seconds = (performance.now() - began) / 1000
  assert.ok(answers >= 40 && answers <= 41 + seconds * 20, `${answers} answers in ${seconds} s`)
})

test('a client that sends request after request without waiting for answers is cut off', async t => {
  const port = await start(t)
  const socket = await open(t, port)
  socket.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n'.repeat(1000))
  assert.ok((await answer(socket)).split('HTTP/1.1 200').length < 60)
})

test('the socket of the command line is for its user and root alone, whatever the umask', async t => {
  const directory = mkdtempSync(join(tmpdir(), 'lightpath-socket-'))
  const umask = process.umask(0)
  t.after(() => {
    process.umask(umask)
    rmSync(directory, { recursive: true })
  })
  const path = join(directory, 'agent.sock')
  const server = await serveUnix({ '/': () => text(200, 'ok') }, path, silentLog)
  t.after(() => server.stop())
  assert.equal(statSync(path).mode & 0o777, 0o600)
})
