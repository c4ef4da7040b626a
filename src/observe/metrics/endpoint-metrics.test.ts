import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Registry } from 'prom-client'
import { createEndpointMetrics, type SeenPort } from './endpoint-metrics.ts'
import { ranksOf, statesOf } from './endpoint-ranks.ts'

const seen = (ms: number | undefined, requests = 10, failing = 0) => ({ ms, requests, failing })

async function pageOf(...ports: readonly SeenPort[]): Promise<readonly string[]> {
  const registry = new Registry()
  createEndpointMetrics(registry, () => ports)
  return (await registry.metrics()).split('\n').filter(line => line !== '' && !line.startsWith('#'))
}

test('of a Service port there are estimates, shares and states, and how much spills over', async () => {
  const endpoints = [seen(4, 30), seen(5, 28), seen(40, 2), seen(4, 0, 0.9), seen(undefined, 0)]
  const port = { servicePort: 'shop/web/http', endpoints, spillOver: [seen(24, 20)] }
  const series = (await pageOf(port)).map(line => line.replace('service_port="shop/web/http"', '')).sort()
  assert.deepEqual(series, [
    'lightpath_endpoint_latency_seconds{,quantile="0"} 0.004',
    'lightpath_endpoint_latency_seconds{,quantile="0.5"} 0.004',
    'lightpath_endpoint_latency_seconds{,quantile="1"} 0.04',
    'lightpath_endpoint_share_ratio{,quantile="0"} 0',
    `lightpath_endpoint_share_ratio{,quantile="0.5"} ${(2 / 60) * 5}`,
    'lightpath_endpoint_share_ratio{,quantile="1"} 2.5',
    'lightpath_latency_endpoints{,state="even"} 2',
    'lightpath_latency_endpoints{,state="failing"} 1',
    'lightpath_latency_endpoints{,state="slow"} 1',
    'lightpath_latency_endpoints{,state="unknown"} 1',
    'lightpath_spill_over_ratio{} 0.25',
  ])
})

test('a port of thousands of endpoints has no more series than one of two', async () => {
  const port = (count: number) => ({
    servicePort: 'shop/web/http',
    endpoints: Array.from({ length: count }, (_, n) => seen(n + 1, n)),
    spillOver: [seen(1)],
  })
  assert.equal((await pageOf(port(5000))).length, (await pageOf(port(2))).length)
})

test('each endpoint is in one state, and the middle one is between the least and the greatest', () => {
  const endpoint = fc.record({
    ms: fc.option(fc.double({ min: 0.01, max: 1e5, noNaN: true }), { nil: undefined }),
    failing: fc.double({ min: 0, max: 1, noNaN: true }),
    requests: fc.nat(),
  })
  fc.assert(
    fc.property(fc.array(endpoint), endpoints => {
      const counts = Object.values(statesOf(endpoints))
      assert.equal(
        counts.reduce((sum, count) => sum + count, 0),
        endpoints.length,
      )
      const ranks = ranksOf(endpoints.map(({ failing }) => failing))
      assert.ok(!ranks || (ranks[0] <= ranks[0.5] && ranks[0.5] <= ranks[1]))
    }),
  )
})
