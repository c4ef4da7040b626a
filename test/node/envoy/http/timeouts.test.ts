import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { duration } from '../../../../src/envoy/encoding.ts'
import { client, exchange, httpEndpoint, serve, servicePort } from '../envoy.ts'
import { withManager } from '../managers.ts'
import { get, throughEnvoy } from './lab.ts'

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
  // From four fifths of it on Envoy ends connections that have no request.
  const idleMs = 5000
  const port = await throughEnvoy(t, (request, response) => response.end(`served ${request.url};`), {
    idleTimeout: idleMs,
  })
  const askTwo = async () => {
    const began = performance.now()
    const [idle, late] = [await client(t, port), await client(t, port)]
    for (const raw of [idle, late]) raw.send('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    await Promise.all([idle, late].map(raw => raw.until('served /;')))
    const answered = performance.now()
    await sleep(idleMs * 0.82)
    return { idle, late, began, answered, hasOverslept: performance.now() > began + idleMs * 0.96 }
  }
  let two = await askTwo()
  while (two.hasOverslept) two = await askTwo()
  const { idle, late, began, answered } = two
  late.send('GET /late HTTP/1.1\r\nHost: a\r\n\r\n')
  await late.until('served /late;')
  await idle.untilEnd()
  const now = performance.now()
  assert.ok(now - began >= idleMs, `closed after ${now - began} ms`)
  assert.ok(now - answered < idleMs + 4000, `closed after ${now - answered} ms`)
})

test('headers that come too slowly end, and time before their first byte does not count', async t => {
  const { port } = await httpEndpoint(t, (_, response) => response.end('served;'))
  const state = await servicePort('whoami', 'http', [port])
  // Five minutes are a second.
  const change = withManager('brief', ({ requestHeadersTimeout }) => ({
    requestHeadersTimeout: requestHeadersTimeout && duration(Number(requestHeadersTimeout.seconds) * (1000 / 300)),
  }))
  await serve(t, [state], { change })
  const [slow, silent] = [await client(t, state.port.port), await client(t, state.port.port)]
  slow.send('GET / HTTP/1.1\r\nHost: a\r\n')
  for (let n = 0; n < 100 && slow.ended === undefined; n++) {
    await sleep(200)
    slow.send(`X-${n}: 1\r\n`)
  }
  assert.match(await slow.untilEnd(), /^HTTP\/1\.1 408 /)
  silent.send(get)
  assert.match(await silent.untilEnd(), /served;/)
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
