import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { endpointHealth, readActivity, statsTexts } from '../../../src/envoy/program/admin.ts'
import { resourceNameOf } from '../../../src/envoy/resources/frontend.ts'
import { client, eventually, exchange, freePort, httpEndpoint, rawEndpoint, serve, servicePort } from './envoy.ts'

const request = (method: string) => `${method} / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`

function statusOf(answer: string): number {
  return Number(/^HTTP\/1\.1 (\d+)/.exec(answer)?.[1])
}

/** An endpoint that resets each connection as soon as a request is there, and counts them. */
async function resetting(t: TestContext) {
  const seen: string[] = []
  const { port } = await rawEndpoint(t, socket => {
    socket.once('data', chunk => {
      seen.push(chunk.toString('latin1').split(' ')[0]!)
      socket.resetAndDestroy()
    })
  })
  return { port, seen }
}

/** No outlier detection, so that each test sees each endpoint chosen again and again. */
const never = { outlierDetectionConsecutive5xx: 0, outlierDetectionConsecutiveGatewayFailure: 0 }

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
    for (let i = 0; i < 20; i++) assert.equal(statusOf(await exchange(t, state.port.port, request(method))), 200)
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

test('where there is one endpoint, GETs of a client connection share one to it, and those of others do not', async t => {
  const connections = new Set<unknown>()
  const { port } = await httpEndpoint(t, ({ socket }, response) => {
    connections.add(socket)
    response.end('ok;')
  })
  const state = await servicePort('only', 'http', [port])
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

test('40 POSTs in a row that fail by the fault of their client eject no endpoint', async t => {
  const endpoints = await Promise.all(
    [1, 2, 3].map(() =>
      httpEndpoint(t, ({ method }, response) => response.writeHead(method === 'POST' ? 500 : 200).end()),
    ),
  )
  const state = await servicePort(
    'bad-client',
    'http',
    endpoints.map(({ port }) => port),
  )
  const { admin } = await serve(t, [state])
  for (let i = 0; i < 40; i++) assert.equal(statusOf(await exchange(t, state.port.port, request('POST'))), 500)
  const health = Object.values(await endpointHealth([admin], resourceNameOf(state)))
  assert.deepEqual(
    health.map(({ ejected }) => ejected),
    [false, false, false],
  )
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
  for (let i = 0; i < 20; i++) assert.equal(statusOf(await exchange(t, state.port.port, request('POST'))), 200)
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

test('an endpoint that fails again and again is ejected, and told to be by the admin interface', async t => {
  const bad = await httpEndpoint(t, (_, response) => response.writeHead(500).end())
  const good = await httpEndpoint(t, (_, response) => response.end('good'))
  const state = await servicePort('outlier', 'http', [bad.port, good.port])
  const { admin } = await serve(t, [state])
  for (let i = 0; i < 120; i++) assert.equal(statusOf(await exchange(t, state.port.port, request('GET'))), 200)
  await eventually(
    async () => (await endpointHealth([admin], resourceNameOf(state)))[`127.0.0.1:${bad.port}`]?.ejected === true,
    () => 'the ejection',
  )
  assert.deepEqual(await endpointHealth([admin], resourceNameOf(state)), {
    [`127.0.0.1:${bad.port}`]: { ejected: true, healthy: false },
    [`127.0.0.1:${good.port}`]: { ejected: false, healthy: true },
  })
  const stats = (await statsTexts([admin]))[0]!
  assert.match(
    stats,
    new RegExp(`envoy_cluster_outlier_detection_ejections_active\\{envoy_cluster_name="${state.id}"\\} 1\n`),
  )
  assert.match(
    stats,
    new RegExp(
      `envoy_cluster_upstream_rq_xx\\{envoy_response_code_class="2",envoy_cluster_name="${state.id}"\\} 120\n`,
    ),
  )
  assert.match(stats, new RegExp(`envoy_cluster_upstream_rq_retry\\{envoy_cluster_name="${state.id}"\\} \\d+\n`))
  await eventually(
    async () => /envoy_cluster_upstream_rq_time_count\{[^}]*\} 120\n/.test((await statsTexts([admin]))[0]!),
    () => 'the latency histogram',
  )
})

for (const [what, settings] of Object.entries({
  'consecutive-5xx': { outlierDetectionConsecutive5xx: 5, outlierDetectionConsecutiveGatewayFailure: 0 },
  'consecutive-gateway-failure': { outlierDetectionConsecutive5xx: 0 },
})) {
  test(`${what} alone ejects an endpoint that refuses connections`, async t => {
    const good = await httpEndpoint(t, (_, response) => response.end('good'))
    const dead = await freePort()
    const state = await servicePort('outlier', 'http', [dead, good.port], settings)
    const { admin } = await serve(t, [state])
    for (let i = 0; i < 40; i++) await exchange(t, state.port.port, request('GET'))
    await eventually(
      async () => (await endpointHealth([admin], resourceNameOf(state)))[`127.0.0.1:${dead}`]?.ejected === true,
      () => 'the ejection',
    )
  })
}

test('the only endpoint of a Service gets all requests, however often it fails', async t => {
  let requests = 0
  const only = await httpEndpoint(t, (_, response) => {
    requests++
    response.writeHead(500).end()
  })
  const state = await servicePort('only', 'http', [only.port], { retryEnabled: false })
  await serve(t, [state])
  for (let i = 0; i < 30; i++) assert.equal(statusOf(await exchange(t, state.port.port, request('GET'))), 500)
  assert.equal(requests, 30)
})

test('where all endpoints fail, requests still reach them', async t => {
  let requests = 0
  const failing = () =>
    httpEndpoint(t, (_, response) => {
      requests++
      response.writeHead(500).end()
    })
  const endpoints = [await failing(), await failing()]
  const state = await servicePort(
    'all-fail',
    'http',
    endpoints.map(({ port }) => port),
    { retryEnabled: false, outlierDetectionMaxEjectionPercent: 100 },
  )
  await serve(t, [state])
  for (let i = 0; i < 40; i++) assert.equal(statusOf(await exchange(t, state.port.port, request('GET'))), 500)
  assert.equal(requests, 40)
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
      { lbPolicy },
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
    assert.equal(activity!.connections(`0.0.0.0:${state.port.port}`), 1)
    assert.equal(activity!.connections('192.0.2.1:1'), 0)
  })
}
