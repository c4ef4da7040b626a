/** gRPC and gRPC-Web as bytes: what Envoy leaves as it is, and what it answers itself. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import {
  type ClientHttp2Session,
  connect,
  constants,
  createServer,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { eventually, exchange, rawEndpoint, serve, servicePort } from './envoy.ts'

type OnCall = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void

interface Lab {
  readonly session: ClientHttp2Session
  readonly port: number
  /** Of the endpoint. */
  readonly sessions: readonly ServerHttp2Session[]
}

async function throughEnvoy(t: TestContext, onCall: OnCall, isDraining = false): Promise<Lab> {
  const sessions: ServerHttp2Session[] = []
  const server = createServer()
  server.on('session', session => sessions.push(session.on('error', () => undefined)))
  server.on('stream', (stream: ServerHttp2Stream, headers) => {
    stream.on('error', () => undefined)
    onCall(stream, headers)
  })
  const endpoint = await rawEndpoint(t, socket => void server.emit('connection', socket))
  const state = await servicePort('calls', 'grpc', [endpoint.port])
  await serve(t, [state], { isDraining })
  const session = connect(`http://127.0.0.1:${state.port.port}`)
  // When Envoy ends, after the test.
  session.on('error', () => undefined)
  t.after(() => session.destroy())
  return { session, port: state.port.port, sessions }
}

interface Answer {
  readonly headers: IncomingHttpHeaders
  readonly trailers: IncomingHttpHeaders | undefined
  readonly code: number
}

/** One unary call; its headers count as trailers where they end the answer. */
async function call(session: ClientHttp2Session, more: Record<string, string> = {}): Promise<Answer> {
  const stream = session.request({
    ':method': 'POST',
    ':path': '/lab/Call',
    'content-type': 'application/grpc',
    te: 'trailers',
    ...more,
  })
  let [headers, trailers]: [IncomingHttpHeaders, IncomingHttpHeaders | undefined] = [{}, undefined]
  stream.on('response', received => {
    headers = received
  })
  stream.on('trailers', received => {
    trailers = received
  })
  stream.on('error', () => undefined).resume()
  stream.end(Buffer.from([0, 0, 0, 0, 0]))
  await once(stream, 'close')
  return { headers, trailers, code: stream.rstCode }
}

/** A message and status OK. */
function answer(stream: ServerHttp2Stream, more: Record<string, string> = {}): void {
  stream.respond({ ':status': 200, 'content-type': 'application/grpc', ...more }, { waitForTrailers: true })
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0', 'x-sum': '1' }))
  stream.end(Buffer.from([0, 0, 0, 0, 0]))
}

test('a deadline reaches the endpoint as the client wrote it, and Envoy ends no call by it', async t => {
  const { session } = await throughEnvoy(t, async (stream, headers) => {
    await sleep(400)
    answer(stream, { 'x-timeout': String(headers['grpc-timeout']) })
  })
  const { headers, trailers } = await call(session, { 'grpc-timeout': '100m' })
  assert.equal(headers['x-timeout'], '100m')
  assert.equal(trailers?.['grpc-status'], '0')
})

test('a status without a message comes as it was sent, details and all', async t => {
  const status = { 'grpc-status': '5', 'grpc-message': 'no%20such%20thing', 'grpc-status-details-bin': 'CAU' }
  const { session } = await throughEnvoy(t, stream =>
    stream.respond({ ':status': 200, 'content-type': 'application/grpc', ...status }, { endStream: true }),
  )
  const { headers, trailers } = await call(session)
  assert.equal(trailers, undefined)
  for (const [name, value] of Object.entries(status)) assert.equal(headers[name], value)
})

test('a client may ping as often as it likes, and an endpoint gets no ping', async t => {
  const { session, sessions } = await throughEnvoy(t, stream => answer(stream))
  assert.equal((await call(session)).trailers?.['grpc-status'], '0')
  let pings = 0
  for (const one of sessions) one.on('ping', () => pings++)
  for (let round = 0; round < 50; round++) {
    const answered = Array.from({ length: 8 }, () => new Promise(resolve => session.ping(error => resolve(error))))
    assert.deepEqual(await Promise.all(answered), Array(8).fill(null))
  }
  assert.equal((await call(session)).trailers?.['grpc-status'], '0')
  assert.equal(pings, 0)
})

test('a call that the endpoint resets once it has it ends, and is not made again', async t => {
  for (const code of [constants.NGHTTP2_CANCEL, constants.NGHTTP2_ENHANCE_YOUR_CALM]) {
    let calls = 0
    const { session } = await throughEnvoy(t, stream => {
      calls++
      stream.close(code)
    })
    const { headers, code: reset } = await call(session)
    assert.ok(headers['grpc-status'] === '14' || reset !== constants.NGHTTP2_NO_ERROR, JSON.stringify(headers))
    assert.equal(calls, 1)
  }
})

test('an endpoint that refuses a call unseen is asked again', async t => {
  let calls = 0
  const { session } = await throughEnvoy(t, stream => {
    calls++
    if (calls === 1) stream.close(constants.NGHTTP2_REFUSED_STREAM)
    else answer(stream)
  })
  assert.equal((await call(session)).trailers?.['grpc-status'], '0')
  assert.equal(calls, 2)
})

test('a port that leaves Envoy tells clients to go, and calls that are open are answered', async t => {
  const { session } = await throughEnvoy(
    t,
    async stream => {
      await sleep(300)
      answer(stream)
    },
    true,
  )
  const told = once(session, 'goaway')
  const calls = await Promise.all([call(session), call(session), call(session)])
  for (const { trailers } of calls) assert.equal(trailers?.['grpc-status'], '0')
  const [code] = await told
  assert.equal(code, constants.NGHTTP2_NO_ERROR)
})

test('gRPC-Web passes as it is, trailers in its body', async t => {
  const body = '\u0000\u0000\u0000\u0000\u0002hi\u0080\u0000\u0000\u0000\u000fgrpc-status:0\r\n'
  let asked = ''
  const { port } = await rawEndpoint(t, socket => {
    socket.setEncoding('latin1').on('data', (chunk: string) => {
      asked += chunk
      const head = `HTTP/1.1 200 OK\r\nContent-Type: application/grpc-web+proto\r\nContent-Length: ${body.length}\r\n\r\n`
      if (asked.endsWith('\u0000\u0000\u0000\u0000\u0000')) socket.write(head + body, 'latin1')
    })
  })
  const state = await servicePort('web', 'grpc', [port])
  await serve(t, [state])
  const head = [
    'POST /lab/Call HTTP/1.1',
    'Host: a',
    'Content-Type: application/grpc-web+proto',
    'X-Grpc-Web: 1',
    'Content-Length: 5',
    'Connection: close',
  ]
  const received = await exchange(t, state.port.port, `${head.join('\r\n')}\r\n\r\n\u0000\u0000\u0000\u0000\u0000`)
  assert.ok(received.endsWith(body), JSON.stringify(received))
  await eventually(
    () => asked.includes('Content-Type: application/grpc-web+proto') && asked.includes('X-Grpc-Web: 1'),
    () => asked,
  )
})
