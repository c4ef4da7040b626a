import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { client, eventually, exchange, freePort, httpEndpoint, rawEndpoint, serve, servicePort } from './envoy.ts'

import { never, request, resetting, statusOf } from './retries-lab.ts'

for (const [method, settings] of [
  ['GET', {}],
  ['HEAD', {}],
  ['OPTIONS', {}],
  ['PUT', { retryIdempotent: true }],
  ['DELETE', { retryIdempotent: true }],
] as const) {
  test(`a ${method} that an endpoint resets is answered by another one with ${JSON.stringify(settings)}`, async t => {
    const bad = await resetting(t)
    const good = await httpEndpoint(t, (_, response) => response.end('good'))
    const state = await servicePort('retry', 'http', [bad.port, good.port], { ...never, ...settings })
    await serve(t, [state])
    for (let i = 0; i < 40; i++) assert.equal(statusOf(await exchange(t, state.port.port, request(method))), 200)
    assert.ok(bad.seen.length > 0)
  })
}

for (const method of ['POST', 'PATCH', 'LIST', 'PUT', 'DELETE', 'TRACE']) {
  test(`a ${method} that an endpoint resets after it has got it reaches no other endpoint`, async t => {
    const [one, other] = [await resetting(t), await resetting(t)]
    const state = await servicePort('once', 'http', [one.port, other.port], never)
    await serve(t, [state])
    for (let i = 0; i < 10; i++) {
      assert.equal(statusOf(await exchange(t, state.port.port, request(method))), 503)
      assert.equal(one.seen.length + other.seen.length, i + 1)
    }
  })
}

for (const condition of ['If-None-Match: *', 'If-Match: "a"', 'If-Unmodified-Since: Sat, 01 Jan 2022 00:00:00 GMT'])
  test(`a GET with ${condition} that an endpoint resets reaches no other endpoint`, async t => {
    const [one, other] = [await resetting(t), await resetting(t)]
    const state = await servicePort('once', 'http', [one.port, other.port], never)
    await serve(t, [state])
    const asked = `GET / HTTP/1.1\r\nHost: a\r\n${condition}\r\nConnection: close\r\n\r\n`
    assert.equal(statusOf(await exchange(t, state.port.port, asked)), 503)
    assert.equal(one.seen.length + other.seen.length, 1)
  })

test('a GET that fails at each of two endpoints reaches each of them once', async t => {
  const [one, other] = [await resetting(t), await resetting(t)]
  const state = await servicePort('each', 'http', [one.port, other.port], never)
  await serve(t, [state])
  for (let i = 1; i <= 10; i++) {
    await exchange(t, state.port.port, request('GET'))
    assert.deepEqual([one.seen.length, other.seen.length], [i, i])
  }
})

test('an endpoint that closes connections unannounced costs no request: 0 of 300 POSTs, and 0 of 300 GETs, fail', async t => {
  for (const idle of [10, 50, 500]) {
    const { port } = await rawEndpoint(t, socket => {
      let end: NodeJS.Timeout | undefined
      socket.on('data', () => {
        clearTimeout(end)
        socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
        end = setTimeout(() => socket.destroy(), idle)
      })
    })
    const state = await servicePort('closing', 'http', [port])
    await serve(t, [state])
    const ask = async (method: string, i: number) => {
      await sleep(i % 10 === 0 ? idle : (idle * (i % 7)) / 7)
      return statusOf(await exchange(t, state.port.port, request(method)))
    }
    const statuses = new Set<number>()
    const turns = async (method: string) => {
      for (let i = 0; i < 10; i++) statuses.add(await ask(method, i))
    }
    await Promise.all(Array.from({ length: 10 }, () => Promise.all([turns('POST'), turns('GET')])))
    assert.deepEqual([...statuses], [200])
  }
})

test('a client cannot have a POST tried again, or cut, by headers that only Envoy knows', async t => {
  const [one, other] = [await resetting(t), await resetting(t)]
  const slow = await httpEndpoint(t, (_, response) => void setTimeout(() => response.end('slow'), 300))
  const once = await servicePort('once', 'http', [one.port, other.port], never)
  const whole = await servicePort('whole', 'http', [slow.port])
  await serve(t, [once, whole])
  const forged = (headers: string) =>
    `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n${headers}\r\n\r\n`
  await exchange(t, once.port.port, forged('X-Envoy-Retry-On: 5xx,reset\r\nX-Envoy-Max-Retries: 5'))
  assert.equal(one.seen.length + other.seen.length, 1)
  const answer = await exchange(
    t,
    whole.port.port,
    forged('X-Envoy-Upstream-Rq-Timeout-Ms: 10\r\nX-Forwarded-For: 10.0.0.1'),
  )
  assert.equal(statusOf(answer), 200)
})

test('a large POST that an endpoint resets half way reaches no other endpoint', async t => {
  const seen: number[] = []
  const halfway = () =>
    rawEndpoint(t, socket => {
      let size = 0
      seen.push(seen.length)
      socket.on('data', chunk => {
        size += chunk.length
        if (size > 2_000_000) socket.resetAndDestroy()
      })
    })
  const [one, other] = [await halfway(), await halfway()]
  const state = await servicePort('once', 'http', [one.port, other.port], never)
  await serve(t, [state])
  const raw = await client(t, state.port.port)
  raw.send(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8000000\r\nConnection: close\r\n\r\n${'x'.repeat(8_000_000)}`)
  await raw.untilEnd()
  assert.equal(seen.length, 1)
})

test('a POST that an endpoint answers with 503 gets that answer, once', async t => {
  let posts = 0
  const count = () =>
    httpEndpoint(t, (_, response) => {
      posts++
      response.writeHead(503).end()
    })
  const endpoints = [await count(), await count()]
  const state = await servicePort(
    'once',
    'http',
    endpoints.map(({ port }) => port),
  )
  await serve(t, [state])
  assert.equal(statusOf(await exchange(t, state.port.port, request('POST'))), 503)
  assert.equal(posts, 1)
})

test('a POST that could not be sent, since nobody listens at an endpoint, goes to another one', async t => {
  const good = await httpEndpoint(t, (_, response) => response.end('good'))
  const state = await servicePort('unsent', 'http', [await freePort(), good.port], never)
  await serve(t, [state])
  for (let i = 0; i < 20; i++) assert.equal(statusOf(await exchange(t, state.port.port, request('POST'))), 200)
})

test('retry-non-idempotent has a POST tried again too', async t => {
  const bad = await resetting(t)
  const good = await httpEndpoint(t, (_, response) => response.end('good'))
  const state = await servicePort('lifted', 'http', [bad.port, good.port], { ...never, retryNonIdempotent: true })
  await serve(t, [state])
  for (let i = 0; i < 40; i++) assert.equal(statusOf(await exchange(t, state.port.port, request('POST'))), 200)
  assert.ok(bad.seen.length > 0)
})

for (const settings of [{ retryEnabled: false }, { numRetries: 0 }]) {
  test(`with ${JSON.stringify(settings)} nothing is tried again`, async t => {
    const [one, other] = [await resetting(t), await resetting(t)]
    const state = await servicePort('off', 'http', [one.port, other.port], { ...never, ...settings })
    await serve(t, [state])
    assert.equal(statusOf(await exchange(t, state.port.port, request('GET'))), 503)
    assert.equal(one.seen.length + other.seen.length, 1)
  })
}

test('num-retries says how often, and no endpoint is tried twice', async t => {
  const endpoints = await Promise.all(Array.from({ length: 5 }, () => resetting(t)))
  const state = await servicePort(
    'twice',
    'http',
    endpoints.map(({ port }) => port),
    { ...never, numRetries: 2 },
  )
  await serve(t, [state])
  for (let i = 0; i < 10; i++) {
    const before = endpoints.map(({ seen }) => seen.length)
    await exchange(t, state.port.port, request('GET'))
    const tries = endpoints.map(({ seen }, j) => seen.length - before[j]!).filter(count => count > 0)
    assert.deepEqual(tries, [1, 1, 1])
  }
})

test('the endpoint of a second try is told so', async t => {
  const bad = await resetting(t)
  const good = await httpEndpoint(t, ({ headers }, response) =>
    response.end(`attempt ${headers['x-envoy-attempt-count']};`),
  )
  const state = await servicePort('count', 'http', [bad.port, good.port], never)
  await serve(t, [state])
  const answers: string[] = []
  await eventually(
    async () =>
      answers.push(await exchange(t, state.port.port, request('GET'))) > 0 &&
      answers.some(answer => answer.includes('attempt 2;')),
    () => answers.join('\n'),
  )
})

test('no GET fails when one of three endpoints dies under load', async t => {
  const endpoints = await Promise.all(
    Array.from({ length: 3 }, () => httpEndpoint(t, (_, response) => void setTimeout(() => response.end('ok'), 20))),
  )
  const state = await servicePort(
    'killed',
    'http',
    endpoints.map(({ port }) => port),
  )
  await serve(t, [state])
  const statuses = new Map<number, number>()
  const load = Array.from({ length: 32 }, async () => {
    for (let i = 0; i < 30; i++) {
      const status = statusOf(await exchange(t, state.port.port, request('GET')))
      statuses.set(status, (statuses.get(status) ?? 0) + 1)
      if (statuses.get(200)! >= 300) endpoints[0]!.kill()
    }
  })
  await Promise.all(load)
  assert.deepEqual([...statuses], [[200, 960]])
})
