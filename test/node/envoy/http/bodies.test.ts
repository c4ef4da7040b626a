import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { type TestContext, test } from 'node:test'
import { client, eventually, exchange, rawEndpoint, serve, servicePort } from '../envoy.ts'
import { echoHead, get, throughEnvoy, throughEnvoyToBytes } from './lab.ts'

test('an HTTP/1.0 client without Host is answered, and the end of the answer is the end of the connection', async t => {
  const port = await throughEnvoy(t, (request, response) => {
    response.write(`host ${request.headers.host};`)
    response.end('end')
  })
  const answer = await exchange(t, port, 'GET / HTTP/1.0\r\n\r\n')
  assert.match(answer, /^HTTP\/1\.[01] 200 /)
  assert.ok(answer.endsWith('\r\n\r\nhost localhost;end'), answer)
})

test('an HTTP/1.0 client that asks for it keeps its connection', async t => {
  const port = await throughEnvoy(t, (_, response) => response.writeHead(200, { 'Content-Length': 2 }).end('ok'))
  const raw = await client(t, port)
  for (const times of [1, 2]) {
    raw.send('GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n')
    await eventually(
      () => raw.received.split('\r\n\r\nok').length === times + 1,
      () => raw.received,
    )
  }
})

test('a body that breaks off is not taken for a whole one', async t => {
  const { port } = await rawEndpoint(t, socket => {
    socket.once('data', () => {
      socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n')
      setTimeout(() => socket.resetAndDestroy(), 200)
    })
  })
  const state = await servicePort('whoami', 'http', [port])
  await serve(t, [state])
  const answer = await exchange(t, state.port.port, get)
  assert.match(answer, /begun/)
  assert.doesNotMatch(answer, /\r\n0\r\n\r\n$/)
})

test('trailers pass in both directions', async t => {
  const port = await throughEnvoy(t, (request, response) => {
    request.resume().on('end', () => {
      response.writeHead(200, { Trailer: 'X-Sum' })
      response.write('body')
      response.addTrailers({ 'X-Sum': `got ${request.trailers['x-in']}` })
      response.end()
    })
  })
  const answer = await exchange(
    t,
    port,
    'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-In\r\nTE: trailers\r\nConnection: close\r\n\r\n3\r\nabc\r\n0\r\nX-In: 7\r\n\r\n',
  )
  assert.match(answer, /0\r\nX-Sum: got 7\r\n\r\n$/i)
})

test('100 Continue is the word of the endpoint, not of Envoy', async t => {
  const { port } = await rawEndpoint(t, socket => {
    socket.setEncoding('latin1').on('data', (chunk: string) => {
      const expects = /expect: 100-continue/i.test(chunk)
      socket.write(expects ? 'HTTP/1.1 100 Continue\r\n\r\n' : echoHead(chunk))
    })
  })
  const state = await servicePort('whoami', 'http', [port])
  await serve(t, [state])
  const raw = await client(t, state.port.port)
  raw.send('POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n')
  await raw.until('100 Continue')
  raw.send('body')
  await raw.until('body')
  assert.match(raw.received, /^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 OK\r\n/)
})

test('early hints of the endpoint come before its answer', async t => {
  const port = await throughEnvoyToBytes(t, head => `HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n${echoHead(head)}`)
  const answer = await exchange(t, port, get)
  assert.match(answer, /^HTTP\/1\.1 103 Early Hints\r\nLink: <\/a>\r\n\r\nHTTP\/1\.1 200 OK\r\n/i)
})

test('pipelined requests are answered in order', async t => {
  const port = await throughEnvoy(t, (request, response) => response.end(`at ${request.url};`))
  const raw = await client(t, port)
  const request = (path: string) => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`
  raw.send(request('/1') + request('/2') + request('/3'))
  await raw.until('at /3;')
  assert.deepEqual(raw.received.match(/at \/\d;/g), ['at /1;', 'at /2;', 'at /3;'])
})

test('methods that nobody has heard of reach the endpoint', async t => {
  const port = await throughEnvoyToBytes(t, echoHead)
  for (const method of ['PROPFIND', 'LIST', 'FROBNICATE']) {
    const answer = await exchange(t, port, `${method} / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`)
    assert.ok(answer.includes(`\r\n\r\n${method} / HTTP/1.1`), answer)
  }
})

test('answers without a body end where they should: HEAD, 204, 304', async t => {
  const port = await throughEnvoy(t, (request, response) => {
    if (request.method === 'HEAD') response.writeHead(200, { 'Content-Length': 1234 }).end()
    else response.writeHead(Number(request.url!.slice(1)), { ETag: '"x"' }).end()
  })
  const raw = await client(t, port)
  raw.send('HEAD / HTTP/1.1\r\nHost: a\r\n\r\n')
  await raw.until('\r\n\r\n')
  assert.match(raw.received, /Content-Length: 1234\r\n/)
  raw.send('GET /204 HTTP/1.1\r\nHost: a\r\n\r\nGET /304 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
  await raw.untilEnd()
  assert.deepEqual(raw.received.match(/HTTP\/1\.1 \d+/g), ['HTTP/1.1 200', 'HTTP/1.1 204', 'HTTP/1.1 304'])
  assert.ok(raw.received.endsWith('\r\n\r\n'))
})

test('an answer that ends with its connection (no length) arrives whole', async t => {
  const { port } = await rawEndpoint(t, socket => {
    socket.once('data', () => socket.end(`HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n${'x'.repeat(3_000_000)}`))
  })
  const state = await servicePort('whoami', 'http', [port])
  await serve(t, [state])
  const answer = await exchange(t, state.port.port, get)
  assert.equal(answer.match(/x{100,}/g)?.reduce((sum, part) => sum + part.length, 0) ?? 0, 3_000_000)
})

test('a reader that stops for a while gets all of an answer after which the connection closes', async t => {
  const size = 24_000_000
  const head = Buffer.from(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`)
  const { port } = await rawEndpoint(t, socket => {
    socket.once('data', () => socket.end(Buffer.concat([head, Buffer.alloc(size, 'x')])))
  })
  const state = await servicePort('whoami', 'http', [port])
  await serve(t, [state])
  // Wherever it stops, some of the rest is in the kernel's buffers and some in Envoy's, which would drop it after 1 s.
  const stops = Array.from({ length: 24 }, (_, i) => i * 1_000_000)
  const received = await Promise.all(stops.map(stop => bytesOf(t, state.port.port, stop)))
  assert.deepEqual(
    received.filter(bytes => bytes <= size),
    [],
  )
})

test('an endpoint may answer while the request is still being sent, and go on reading', async t => {
  const port = await throughEnvoy(t, (request, response) => {
    response.write('early;')
    request.on('data', (chunk: Buffer) => response.write(`got ${chunk};`))
    request.on('end', () => response.end('end;'))
  })
  const raw = await client(t, port)
  raw.send('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n')
  await raw.until('early;')
  raw.send('3\r\none\r\n')
  await raw.until('got one;')
  raw.send('3\r\ntwo\r\n')
  await raw.until('got two;')
  raw.send('0\r\n\r\n')
  await raw.until('end;')
})

test('an early refusal of an upload reaches a client that reads while it sends', async t => {
  const { port } = await rawEndpoint(t, socket => {
    socket.once('data', () =>
      socket.write('HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno'),
    )
  })
  const state = await servicePort('whoami', 'http', [port])
  await serve(t, [state])
  const raw = await client(t, state.port.port)
  raw.send(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n${'x'.repeat(1000)}`)
  assert.match(await raw.until('no'), /^HTTP\/1\.1 413 Too Large\r\n/)
})

test('a large body passes whole in both directions', async t => {
  const port = await throughEnvoy(t, (request, response) => {
    let size = 0
    request.on('data', (chunk: Buffer) => {
      size += chunk.length
    })
    request.on('end', () => response.end(`${size};${'y'.repeat(5_000_000)}`))
  })
  const size = 20_000_000
  const answer = await exchange(
    t,
    port,
    `POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: ${size}\r\n\r\n${'x'.repeat(size)}`,
  )
  assert.match(answer, /\b20000000;/)
  assert.ok(answer.length > 5_000_000)
})

/** How many bytes a client gets that reads none for 2.5 s once it has so many. */
async function bytesOf(t: TestContext, port: number, stop: number): Promise<number> {
  const socket = connect({ host: '127.0.0.1', port })
  t.after(() => socket.destroy())
  let received = 0
  let stopped = false
  socket.on('data', (chunk: Buffer) => {
    received += chunk.length
    if (stopped || received < stop) return
    stopped = true
    socket.pause()
    setTimeout(() => socket.resume(), 2500)
  })
  socket.write(get)
  await new Promise(resolve => socket.on('close', resolve).on('error', resolve))
  return received
}
