import assert from 'node:assert/strict'
import type { IncomingMessage, ServerResponse } from 'node:http'
import {
  connect as connectHttp2,
  constants,
  createServer as createHttp2Server,
  type ServerHttp2Stream,
} from 'node:http2'
import { type AddressInfo, connect } from 'node:net'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { configurationOf } from '../../../src/envoy/resources/resources.ts'
import { run } from '../../../src/lab/processes.ts'
import { hostPort } from '../../../src/net/address.ts'
import type { Settings } from '../../../src/services/settings/settings.ts'
import {
  type AccessLogLine,
  client,
  eventually,
  exchange,
  freePort,
  httpEndpoint,
  rawEndpoint,
  serve,
  servicePort,
} from './envoy.ts'

const get = 'GET / HTTP/1.1\r\nHost: whoami\r\nConnection: close\r\n\r\n'

/** Envoy in front of one endpoint; returns the port that clients connect to. */
async function throughEnvoy(
  t: TestContext,
  onRequest: (request: IncomingMessage, response: ServerResponse) => void,
  settings: Partial<Settings> = {},
): Promise<number> {
  const { port } = await httpEndpoint(t, onRequest)
  const state = await servicePort('whoami', 'http', [port], settings)
  await serve(t, [state])
  return state.port.port
}

/** As throughEnvoy, with an endpoint that answers bytes to the head of each request. */
async function throughEnvoyToBytes(t: TestContext, answer: (head: string) => string): Promise<number> {
  const { port } = await rawEndpoint(t, socket => {
    let head = ''
    socket.setEncoding('latin1').on('data', (chunk: string) => {
      head += chunk
      if (!head.includes('\r\n\r\n')) return
      socket.write(answer(head), 'latin1')
      head = ''
    })
  })
  const state = await servicePort('whoami', 'http', [port])
  await serve(t, [state])
  return state.port.port
}

const echoHead = (head: string) => `HTTP/1.1 200 OK\r\nContent-Length: ${head.length}\r\n\r\n${head}`

test('the endpoint sees what tells that a request came through Lightpath', async t => {
  const port = await throughEnvoy(t, (request, response) => response.end(request.rawHeaders.join('\n')), {
    upstreamRequestTimeout: 5000,
  })
  const answer = await exchange(t, port, get)
  assert.match(answer, /X-Envoy-Attempt-Count\n1\n?/)
  assert.match(answer, /X-Envoy-Expected-Rq-Timeout-Ms\n5000/)
  assert.match(answer, /X-Forwarded-Proto\nhttp\n/)
  assert.match(answer, /X-Request-Id\n[0-9a-f-]{36}\n/)
  assert.match(answer, /X-Forwarded-For\n/)
})

test('of Service ports that share a listener each request goes to the one that it was sent to, whatever its headers say', async t => {
  const port = await freePort()
  const states = await Promise.all(
    [1, 2].map(async i => {
      const endpoint = await httpEndpoint(t, (request, response) =>
        response.end(`endpoint ${i} ${request.headers['x-lightpath-address']}`),
      )
      const state = await servicePort(`shared-${i}`, 'http', [endpoint.port])
      return { ...state, vip: `127.0.0.${i}`, port: { ...state.port, port } }
    }),
  )
  const { accessLog } = await serve(t, states)
  const ask = (host: string) =>
    exchange(
      t,
      port,
      `GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Lightpath-Address: 127.0.0.1:${port}\r\nConnection: close\r\n\r\n`,
      host,
    )
  assert.match(await ask('127.0.0.1'), /endpoint 1 undefined/)
  assert.match(await ask('127.0.0.2'), /endpoint 2 undefined/)
  // Nobody's address: as if there were no endpoint.
  assert.match(await ask('127.0.0.3'), /^HTTP\/1\.1 503 /)
  await eventually(
    () => accessLog().length === 1,
    () => JSON.stringify(accessLog()),
  )
  assert.deepEqual([accessLog()[0]!.service, accessLog()[0]!.code], [null, 503])
})

test('whoever breaks off HTTP is in the access log with the Service and the address that it came to', async t => {
  const port = await freePort()
  const states = await Promise.all(
    ['127.0.0.1', '127.0.0.2'].map(async (vip, i) => {
      const endpoint = await httpEndpoint(t, (_, response) => response.end('ok'))
      const state = await servicePort(`misnamed-${i}`, 'http', [endpoint.port])
      return { ...state, vip, port: { ...state.port, port } }
    }),
  )
  const { accessLog } = await serve(t, states)
  assert.match(await exchange(t, port, 'GET / HTTP/1.1\r\nno header\r\n\r\n', '127.0.0.2'), /^HTTP\/1\.1 400 /)
  await eventually(
    () => accessLog().length === 1,
    () => JSON.stringify(accessLog()),
  )
  const [{ service, frontend, flags, code }] = accessLog() as [AccessLogLine]
  assert.deepEqual([service, frontend, flags, code], [states[1]!.id, `127.0.0.2:${port}`, 'DPE', 400])
})

test('a Service port that leaves Envoy answers once more on each connection, and closes it', async t => {
  const { port: endpoint } = await httpEndpoint(t, (_, response) => response.end('ok'))
  const state = await servicePort('whoami', 'http', [endpoint])
  await serve(t, [state], { isDraining: true })
  const answer = await exchange(t, state.port.port, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  assert.match(answer, /^HTTP\/1\.1 200 /)
  assert.match(answer, /\r\nConnection: close\r\n/)
})

test('headers that a proxy before us has set stay: protocol, request id, client address', async t => {
  const port = await throughEnvoy(t, (request, response) => response.end(request.rawHeaders.join('\n')))
  const answer = await exchange(
    t,
    port,
    'GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: https\r\nX-Request-Id: mine\r\nX-Forwarded-For: 192.0.2.1\r\nConnection: close\r\n\r\n',
  )
  assert.match(answer, /X-Forwarded-Proto\nhttps\n/)
  assert.match(answer, /X-Request-Id\nmine\n/)
  assert.match(answer, /X-Forwarded-For\n192\.0\.2\.1, ?[\d.]+\n/)
})

for (const [forwardedHeaders, clientMark, isAdded] of [
  ['auto', undefined, true],
  ['auto', 0x4000, false],
  ['add', 0x4000, true],
  ['none', undefined, false],
] as const)
  test(`with forwarded-headers ${forwardedHeaders} endpoints that ${clientMark ? '' : 'do not '}see the client are${isAdded ? '' : ' not'} told of it`, async t => {
    const { port } = await httpEndpoint(t, (request, response) => response.end(request.rawHeaders.join('\n')))
    const state = await servicePort('whoami', 'http', [port], { forwardedHeaders })
    const resources = configurationOf([state], { clientMark })
    const routes = resources.filter(({ typeUrl }) => typeUrl.endsWith('RouteConfiguration'))
    assert.equal(
      routes.filter(route => Buffer.from(route.encode()).includes('x-forwarded-for')).length,
      Number(isAdded),
    )
    if (clientMark !== undefined) return
    await serve(t, [state])
    const answer = await exchange(t, state.port.port, get)
    assert.equal(/X-Forwarded-For\n127/.test(answer), isAdded)
    assert.equal(/X-Forwarded-Proto\nhttp\n/.test(answer), isAdded)
  })

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

test('any Host, path and header reaches the endpoint as the client wrote it, and so do answers', async t => {
  const port = await throughEnvoyToBytes(t, head =>
    echoHead(head).replace('200 OK', '200 Quite Fine\r\nX-AnSwEr: KePt\r\nServer: mine'),
  )
  const answer = await exchange(
    t,
    port,
    'GET //a/./b/../c%2Fd%2e?x=%00&y=1 HTTP/1.1\r\nHost: any_thing:1234\r\nX-MiXeD: CaSe\r\nunder_score: 1\r\nX-Bytes: caf\xe9\r\nConnection: close\r\n\r\n',
  )
  assert.match(answer, /^HTTP\/1\.1 200 Quite Fine\r\n/)
  assert.match(answer, /\r\nX-AnSwEr: KePt\r\n/)
  assert.match(answer, /\r\nServer: mine\r\n/)
  assert.match(answer, /GET \/\/a\/\.\/b\/\.\.\/c%2Fd%2e\?x=%00&y=1 HTTP\/1\.1\r\nHost: any_thing:1234\r\n/)
  assert.match(answer, /\r\nX-MiXeD: CaSe\r\n/)
  assert.match(answer, /\r\nunder_score: 1\r\n/)
  assert.match(answer, /\r\nX-Bytes: caf\xe9\r\n/)
})

test('150 headers and a header of 200 kB pass, in requests and in answers', async t => {
  const port = await throughEnvoy(t, (request, response) => {
    for (let i = 0; i < 150; i++) response.setHeader(`X-Out-${i}`, i)
    response.setHeader('X-Large', 'a'.repeat(200_000))
    response.end(
      `${Object.keys(request.headers).filter(name => name.startsWith('x-in-')).length} ${request.headers['x-large']?.length}`,
    )
  })
  const many = Array.from({ length: 150 }, (_, i) => `X-In-${i}: ${i}\r\n`).join('')
  const answer = await exchange(
    t,
    port,
    `GET / HTTP/1.1\r\nHost: a\r\n${many}X-Large: ${'a'.repeat(200_000)}\r\nConnection: close\r\n\r\n`,
  )
  assert.match(answer, /^HTTP\/1\.1 200 /)
  assert.equal(answer.match(/\r\nX-Out-\d+: /g)?.length, 150)
  assert.match(answer, /\b150 200000\b/)
})

for (const protocol of ['websocket', 'WebSocket', 'spdy/3.1', 'my-own/7']) {
  test(`a connection upgraded to ${protocol} carries bytes both ways, whatever header names the client forges`, async t => {
    const { port } = await rawEndpoint(t, socket => {
      let upgraded = false
      socket.setEncoding('latin1').on('data', (chunk: string) => {
        if (chunk.startsWith('GET / ')) return void socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n')
        if (upgraded) return void socket.write(`echo ${chunk}`)
        upgraded = true
        socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: agreed\r\n\r\n')
        socket.write(chunk)
      })
    })
    const state = await servicePort('whoami', 'http', [port])
    await serve(t, [state])
    const raw = await client(t, state.port.port)
    // Behind another request, since a connection that begins so goes on as TCP.
    raw.send(
      `GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: ${protocol}\r\nX-Lightpath-Upgrade: forged\r\nSec-WebSocket-Key: x\r\n\r\n`,
    )
    const head = await raw.until('Attempt-Count')
    assert.match(head, /^HTTP\/1\.1 200 OK\r\n.*\r\n\r\nHTTP\/1\.1 101 Switching Protocols\r\n/s)
    await raw.until(`Upgrade: ${protocol}\r\n`)
    assert.doesNotMatch(raw.received, /forged|lightpath/i)
    raw.send('one')
    await raw.until('echo one')
    raw.send('two')
    await raw.until('echo two')
  })
}

test('a header that carries the names of upgrades inside Envoy, forged by a client, does not reach the endpoint', async t => {
  const port = await throughEnvoyToBytes(t, echoHead)
  const raw = await client(t, port)
  raw.send('GET / HTTP/1.1\r\nHost: a\r\nX-Lightpath-Upgrade: forged\r\nX-Own: kept\r\n\r\n')
  await raw.until('X-Own: kept')
  await raw.until('Attempt-Count')
  assert.doesNotMatch(raw.received, /forged|upgrade/i)
})

test('CONNECT is passed on to the endpoint, and what follows is a tunnel', async t => {
  const { port } = await rawEndpoint(t, socket => {
    socket.setEncoding('latin1').on('data', (chunk: string) => {
      if (chunk.startsWith('CONNECT ')) socket.write(`HTTP/1.1 200 OK\r\n\r\n${chunk.split('\r\n')[0]};`)
      else socket.write(`echo ${chunk}`)
    })
  })
  const state = await servicePort('proxy', 'http', [port])
  await serve(t, [state])
  const raw = await client(t, state.port.port)
  raw.send('CONNECT elsewhere.example:443 HTTP/1.1\r\nHost: elsewhere.example:443\r\n\r\n')
  await raw.until('CONNECT elsewhere.example:443 HTTP/1.1;')
  raw.send('bytes')
  await raw.until('echo bytes')
})

test('a client that offers h2c is answered in HTTP/1.1', async t => {
  const port = await throughEnvoy(t, (_, response) => response.end('plain'))
  const raw = await client(t, port)
  raw.send(
    'GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n',
  )
  await raw.until('plain')
  assert.match(raw.received, /^HTTP\/1\.1 200 /)
})

test('a client that starts with HTTP/2 speaks HTTP/2 with the endpoint, trailers included', async t => {
  const server = createHttp2Server()
  server.on('stream', (stream: ServerHttp2Stream, headers) => {
    stream.respond({ ':status': 200, 'x-path': headers[':path'] }, { waitForTrailers: true })
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }))
    stream.end('h2')
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.after(() => server.close())
  const state = await servicePort('whoami', 'http', [(server.address() as AddressInfo).port])
  await serve(t, [state])
  const session = connectHttp2(`http://127.0.0.1:${state.port.port}`)
  // When Envoy ends, after the test.
  session.on('error', () => undefined)
  t.after(() => session.destroy())
  const stream = session.request({ [constants.HTTP2_HEADER_PATH]: '/grpc' })
  const seen: unknown[] = []
  stream.on('response', headers => seen.push(headers[':status'], headers['x-path']))
  stream.on('trailers', headers => seen.push(headers['grpc-status']))
  stream.resume()
  await new Promise(resolve => stream.on('close', resolve))
  assert.deepEqual(seen, [200, '/grpc', '0'])
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

test('an absolute-form request behind another one reaches the endpoint with its host', async t => {
  const port = await throughEnvoy(t, (request, response) => response.end(`${request.headers.host} ${request.url}`))
  const answer = await exchange(
    t,
    port,
    'GET / HTTP/1.1\r\nHost: a\r\n\r\nGET http://other.example/p?q HTTP/1.1\r\nHost: ignored\r\nConnection: close\r\n\r\n',
  )
  assert.match(answer, /other\.example \/p\?q/)
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

test('idle-timeout closes a connection between requests, and never one within a request or a stream', async t => {
  const port = await throughEnvoy(
    t,
    async (request, response) => {
      if (request.url === '/slow') await sleep(1500)
      response.write('begun;')
      if (request.url === '/stream') await sleep(1500)
      response.end('ended;')
    },
    { idleTimeout: 500, upstreamIdleTimeout: 500 },
  )
  await Promise.all(
    ['/slow', '/stream'].map(async path => {
      const raw = await client(t, port)
      raw.send(`GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`)
      await raw.until('ended;')
      await raw.untilEnd()
    }),
  )
})

test('idle-timeout closes a connection when it is over, no 5 s later, and answers what comes shortly before', async t => {
  const began = performance.now()
  const idleMs = 2000
  const port = await throughEnvoy(t, (request, response) => response.end(`served ${request.url};`), {
    idleTimeout: idleMs,
  })
  const [idle, late] = [await client(t, port), await client(t, port)]
  for (const raw of [idle, late]) raw.send('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  await Promise.all([idle, late].map(raw => raw.until('served /;')))
  const answered = performance.now()
  await sleep(idleMs * 0.9)
  late.send('GET /late HTTP/1.1\r\nHost: a\r\n\r\n')
  await late.until('served /late;')
  await idle.untilEnd()
  const now = performance.now()
  assert.ok(now - began >= idleMs, `closed after ${now - began} ms`)
  assert.ok(now - answered < idleMs + 4000, `closed after ${now - answered} ms`)
})

test('request-timeout and upstream-request-timeout answer 504 when they are set', async t => {
  const never = await httpEndpoint(t, () => undefined)
  const whole = await servicePort('whole', 'http', [never.port], { requestTimeout: 300 })
  const perTry = await servicePort('per-try', 'http', [never.port], {
    upstreamRequestTimeout: 300,
    retryEnabled: false,
  })
  await serve(t, [whole, perTry])
  for (const state of [whole, perTry]) {
    assert.match(await exchange(t, state.port.port, get), /^HTTP\/1\.1 504 /)
  }
})

test('a malformed request is refused with 400 and harms nobody', async t => {
  const port = await throughEnvoy(t, (_, response) => response.end('fine'))
  const raw = await client(t, port)
  raw.send('GARBAGE\r\n\r\n')
  await raw.until('400 Bad Request')
  assert.match(await exchange(t, port, get), /fine/)
})

test('the canary answers 200, and 503 once Envoy is told that it is to end', async t => {
  const state = await servicePort('whoami', 'http', [])
  const { canary, admin } = await serve(t, [state])
  const status = (path: string, url: string, method: string) =>
    run('curl', [
      '--silent',
      '--output',
      '/dev/null',
      '--write-out',
      '%{http_code}',
      '--unix-socket',
      path,
      '-X',
      method,
      url,
    ])
  assert.equal((await status(canary.path, 'http://canary/', 'GET')).stdout, '200')
  assert.equal((await status(admin.path, 'http://admin/healthcheck/fail', 'POST')).stdout, '200')
  assert.equal((await status(canary.path, 'http://canary/', 'GET')).stdout, '503')
})

test('the access log tells of failures alone, and of all requests where that is set', async t => {
  const { port } = await httpEndpoint(t, (request, response) => {
    response.statusCode = Number(request.url!.slice(1))
    response.end('x')
  })
  const [errors, all, none] = await Promise.all(
    (['errors', 'true', 'false'] as const).map(accessLog =>
      servicePort(`log-${accessLog}`, 'http', [port], { accessLog }),
    ),
  )
  const nacked = await servicePort('log-tcp', 'tcp', [1])
  const envoy = await serve(t, [errors!, all!, none!, nacked])
  for (const state of [errors!, all!, none!]) {
    for (const code of [200, 404, 503]) {
      await exchange(
        t,
        state.port.port,
        `POST /${code} HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nConnection: close\r\n\r\nb`,
      )
    }
  }
  await exchange(t, nacked.port.port, '')
  const linesOf = (service: string) => envoy.accessLog().filter(line => line.service === service)
  await eventually(
    () => linesOf(all!.id).length === 3 && linesOf(nacked.id).length === 1,
    () => JSON.stringify(envoy.accessLog()),
  )
  assert.deepEqual(
    linesOf(errors!.id).map(({ code }) => code),
    [503],
  )
  assert.deepEqual(linesOf(none!.id), [])
  assert.equal(linesOf(nacked.id)[0]?.flags, 'UF,URX')
  const { time, durationMs, requestId, client: from, frontend, ...line } = linesOf(errors!.id)[0]!
  assert.deepEqual(line, {
    service: errors!.id,
    protocol: 'HTTP/1.1',
    method: 'POST',
    host: 'h',
    path: '/503',
    code: 503,
    details: 'via_upstream',
    flags: '-',
    failure: null,
    attempts: 1,
    endpoint: `127.0.0.1:${port}`,
    bytesReceived: 1,
    bytesSent: 1,
  })
  assert.match(String(time), /^\d{4}-/)
  assert.equal(typeof durationMs, 'number')
  assert.equal(String(requestId).length, 36)
  assert.match(String(from), /^127\.0\.0\.1:/)
  assert.equal(frontend, hostPort(errors!.vip, errors!.port.port))
})
