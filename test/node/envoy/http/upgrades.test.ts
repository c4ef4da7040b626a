import assert from 'node:assert/strict'
import {
  connect as connectHttp2,
  constants,
  createServer as createHttp2Server,
  type ServerHttp2Stream,
} from 'node:http2'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { client, rawEndpoint, serve, servicePort } from '../envoy.ts'
import { echoHead, throughEnvoy, throughEnvoyToBytes } from './lab.ts'

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
