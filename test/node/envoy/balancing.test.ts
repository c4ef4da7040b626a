import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readActivity } from '../../../src/envoy/program/admin.ts'
import { client, eventually, exchange, httpEndpoint, serve, servicePort } from './envoy.ts'

import { request, statusOf } from './retries-lab.ts'

test('where there is one endpoint, GETs of a client connection share one to it, and those of others do not', async t => {
  const connections = new Set<unknown>()
  const { port } = await httpEndpoint(t, ({ socket }, response) => {
    connections.add(socket)
    response.end('ok;')
  })
  const state = await servicePort('only', 'http', [port], { upstreamIdleTimeout: 60_000 })
  await serve(t, [state])
  const raw = await client(t, state.port.port)
  for (let i = 1; i <= 10; i++) {
    raw.send('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    await eventually(
      () => raw.received.split('ok;').length === i + 1,
      () => raw.received,
    )
  }
  assert.equal(connections.size, 1)
  for (let i = 0; i < 3; i++) await exchange(t, state.port.port, request('GET'))
  assert.equal(connections.size, 4)
})

test('a circuit breaker that a user sets holds', async t => {
  const slow = await httpEndpoint(t, (_, response) => void setTimeout(() => response.end('slow'), 1000))
  const state = await servicePort('breaker', 'http', [slow.port], {
    circuitBreakerDefaultMaxRequests: 1,
    retryEnabled: false,
  })
  await serve(t, [state])
  const answers = await Promise.all(Array.from({ length: 8 }, () => exchange(t, state.port.port, request('GET'))))
  assert.ok(answers.some(answer => statusOf(answer) === 503))
  assert.ok(answers.some(answer => statusOf(answer) === 200))
})

test('a limit of connections that an owner sets cuts his Service alone', async t => {
  const { port } = await httpEndpoint(t, (_, response) => response.end('ok;'))
  const limited = await servicePort('limited', 'tcp', [port], { circuitBreakerDefaultMaxConnections: 1 })
  const other = await servicePort('other', 'tcp', [port])
  await serve(t, [limited, other])
  const open = await client(t, limited.port.port)
  const ask = async (count: number) => {
    open.send('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    await eventually(
      () => open.received.split('ok;').length === count + 1,
      () => open.received,
    )
  }
  await ask(1)
  assert.equal(await exchange(t, limited.port.port, request('GET')), '')
  assert.match(await exchange(t, other.port.port, request('GET')), /ok;/)
  await ask(2)
})

for (const lbPolicy of ['RING_HASH', 'MAGLEV'] as const) {
  test(`with ${lbPolicy} a client stays with its endpoint`, async t => {
    const endpoints = await Promise.all(
      [1, 2, 3].map(i => httpEndpoint(t, (_, response) => response.end(`endpoint ${i};`))),
    )
    const ports = endpoints.map(({ port }) => port)
    const http = await servicePort('hashed', 'http', ports, { lbPolicy })
    const tcp = await servicePort('hashed', 'tcp', ports, { lbPolicy })
    await serve(t, [http, tcp])
    for (const state of [http, tcp]) {
      const answers = new Set<string | undefined>()
      for (let i = 0; i < 10; i++) {
        answers.add(/endpoint \d/.exec(await exchange(t, state.port.port, request('GET')))?.[0])
      }
      assert.equal(answers.size, 1)
    }
  })
}

for (const lbPolicy of ['LEAST_REQUEST', 'ROUND_ROBIN', 'RANDOM'] as const) {
  test(`with ${lbPolicy} the requests of one connection go to all endpoints`, async t => {
    const endpoints = await Promise.all(
      [1, 2, 3].map(i => httpEndpoint(t, (_, response) => response.end(`endpoint ${i};`))),
    )
    const state = await servicePort(
      'spread',
      'http',
      endpoints.map(({ port }) => port),
      // It has a listener of its own, whose connections are counted apart.
      { lbPolicy, idleTimeout: 60_000 },
    )
    const { admin } = await serve(t, [state])
    const raw = await client(t, state.port.port)
    for (let i = 1; i <= 60; i++) {
      raw.send('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
      await eventually(
        () => (raw.received.match(/endpoint \d;/g) ?? []).length === i,
        () => raw.received,
      )
    }
    assert.equal(new Set(raw.received.match(/endpoint \d;/g)).size, 3)
    const activity = await readActivity([admin])
    assert.equal(activity!.connections(`${state.vip}:${state.port.port}`), 1)
    assert.equal(activity!.connections('192.0.2.1:1'), 0)
  })
}
