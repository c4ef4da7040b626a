/** HTTP/2 with prior knowledge: what clients do a lot of on one connection does not end it. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type ClientHttp2Session, connect, constants, createServer, type ServerHttp2Stream } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { type TestContext, test } from 'node:test'
import { readConnectionCounts } from '../../../src/envoy/program/admin.ts'
import { client, eventually, serve, servicePort } from './envoy.ts'

/** @returns the port that clients connect to; of the streams those below /wait are answered when `release` is called */
async function throughEnvoy(t: TestContext) {
  const waiting: ServerHttp2Stream[] = []
  const posts = new Set<unknown>()
  const server = createServer({ settings: { maxConcurrentStreams: 2 ** 31 - 1 } })
  server.on('stream', (stream: ServerHttp2Stream, headers) => {
    stream.on('error', () => undefined)
    if (headers[':method'] === 'POST') posts.add(stream.session)
    if (headers[':path'] === '/wait') return void waiting.push(stream)
    stream.respond({ ':status': 200 })
    stream.end('ok')
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.after(() => server.close())
  const { port } = server.address() as AddressInfo
  const state = await servicePort('h2', 'http', [port], { upstreamIdleTimeout: 60_000 })
  const { admin } = await serve(t, [state])
  const counts = async () => (await readConnectionCounts([admin]))?.get(state.id)
  return { port: state.port.port, waiting, posts, counts }
}

async function statusOf(session: ClientHttp2Session, headers: Record<string, string> = {}): Promise<unknown> {
  const stream = session.request(headers)
  stream.resume()
  const [response] = (await once(stream, 'response')) as [Record<string, unknown>]
  return response[':status']
}

function sessionTo(t: TestContext, port: number): ClientHttp2Session {
  const session = connect(`http://127.0.0.1:${port}`, { settings: { initialWindowSize: 1 << 20 } })
  session.on('error', () => undefined)
  t.after(() => session.destroy())
  return session
}

test('2,000 requests wait at the same time on one connection', async t => {
  const { port, waiting } = await throughEnvoy(t)
  const session = sessionTo(t, port)
  await once(session, 'remoteSettings')
  const answers = Array.from({ length: 2000 }, () => statusOf(session, { ':path': '/wait' }))
  await eventually(
    () => waiting.length === 2000,
    () => `2000 requests at the endpoint, where ${waiting.length} are`,
  )
  for (const stream of waiting) {
    stream.respond({ ':status': 200 })
    stream.end()
  }
  assert.deepEqual([...new Set(await Promise.all(answers))], [200])
})

test('a client that cancels 900 requests at once keeps its connection', async t => {
  const { port } = await throughEnvoy(t)
  const session = sessionTo(t, port)
  for (let i = 0; i < 900; i++) {
    const stream = session.request({ ':path': '/wait' })
    stream.on('error', () => undefined)
    stream.close(constants.NGHTTP2_CANCEL)
    if (i % 100 === 0) assert.equal(await statusOf(session), 200)
  }
  assert.equal(await statusOf(session), 200)
  assert.equal(session.destroyed, false)
})

const frame = (type: number, stream: number, payload: readonly number[], flags = 0) =>
  Buffer.from([0, 0, payload.length, type, flags, 0, 0, 0, stream, ...payload])
/** GET http://a/ whole: names and values by RFC 7541's static table, END_STREAM and END_HEADERS. */
const get = frame(1, 1, [0x82, 0x86, 0x84, 0x41, 0x01, 0x61], 5)
const priority = frame(2, 3, [0, 0, 0, 0, 16])
const windowUpdate = frame(8, 0, [0, 0, 0, 1])
const ping = frame(6, 0, [0, 0, 0, 0, 0, 0, 0, 0])
const preface = Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), frame(4, 0, [])])

for (const [what, bytes, answer] of [
  ['PRIORITY', priority, 0],
  ['WINDOW_UPDATE', windowUpdate, 0],
  ['PING', ping, 500],
] as const)
  test(`500 ${what} frames end no connection`, async t => {
    const { port } = await throughEnvoy(t)
    const raw = await client(t, port)
    raw.send(Buffer.concat([preface, get]))
    await raw.until('ok')
    raw.send(Buffer.concat([...Array.from({ length: 500 }, () => bytes), ping]))
    // Each PING is acknowledged: 8 bytes, type 6, ACK.
    const acknowledged = () => raw.received.split('\0\0\x08\x06\x01\0\0\0\0').length - 1
    await eventually(
      () => acknowledged() === answer + 1,
      () => `${answer + 1} PINGs acknowledged, where ${acknowledged()} are`,
    )
    assert.equal(raw.ended, undefined)
  })

test('POSTs share a connection to the endpoint, since HTTP/2 tells which it has not seen; it is counted as such', async t => {
  const { port, posts, counts } = await throughEnvoy(t)
  const session = sessionTo(t, port)
  for (let i = 0; i < 10; i++) assert.equal(await statusOf(session, { ':method': 'POST' }), 200)
  assert.equal(posts.size, 1)
  const { opened, http2 } = (await counts())!
  assert.deepEqual([opened, http2], [1, 1])
})
