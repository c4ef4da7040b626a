import assert from 'node:assert/strict'
import { test } from 'node:test'
import { endpointHealth, readConnectionCounts, statsTexts } from '../../../src/envoy/program/admin.ts'
import { resourceNameOf } from '../../../src/envoy/resources/frontend.ts'
import { eventually, exchange, freePort, httpEndpoint, serve, servicePort } from './envoy.ts'

import { request, statusOf } from './retries-lab.ts'

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
  assert.equal((await readConnectionCounts([admin]))?.get(state.id)?.ejected, 1)
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
