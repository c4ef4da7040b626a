import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readCounters } from './counters.ts'
import type { Sample } from './sample.ts'
import { sumOf, trafficBetween } from './traffic.ts'

const frontend = {
  namespace: 'shop',
  service: 'web',
  port: 'http',
  layer: 'envoy',
  protocol: 'TCP',
  number: 80,
  addresses: ['10.96.0.1'],
  nodePort: undefined,
  clusters: ['10.96.0.1:80'],
  byLatency: [],
} as const

interface Given {
  readonly at: number
  readonly answers: number
  readonly errors?: number
  readonly endpoints?: Readonly<Record<string, number>>
  readonly pinned?: Readonly<Record<string, number>>
  readonly speeds?: Readonly<Record<string, number>>
}

function sample({ at, answers, errors = 0, endpoints = {}, pinned = {}, speeds = {} }: Given): Sample {
  const labels = 'envoy_cluster_name="shop/web/http"'
  const text = [
    `envoy_cluster_upstream_rq_xx{envoy_response_code_class="2",${labels}} ${answers - errors}`,
    `envoy_cluster_upstream_rq_xx{envoy_response_code_class="5",${labels}} ${errors}`,
    `envoy_cluster_upstream_rq_time_bucket{${labels},le="1"} 0`,
    `envoy_cluster_upstream_rq_time_bucket{${labels},le="2.5"} ${answers}`,
    `envoy_cluster_upstream_rq_time_bucket{${labels},le="+Inf"} ${answers}`,
    'envoy_cluster_upstream_rq_xx{envoy_response_code_class="2",envoy_cluster_name="xds"} 1',
  ]
  const open = Object.values(pinned).reduce((sum, count) => sum + count, 0)
  return {
    at,
    ports: new Map([['shop/web/http', [frontend]]]),
    counters: readCounters([text.join('\n')]),
    endpoints: new Map([['shop/web/http', new Map(Object.entries(endpoints))]]),
    speeds: new Map(Object.entries(speeds)),
    connections: new Map([['shop/web/http', { open, pinned: new Map(Object.entries(pinned)) }]]),
  }
}

test('rates are of the time between two samples, and shares those of that time alone', () => {
  const before = sample({ at: 10, answers: 1000, endpoints: { 'a:80': 1000, 'b:80': 0 } })
  const after = sample({ at: 12, answers: 1200, errors: 20, endpoints: { 'a:80': 1100, 'b:80': 100 } })
  const [port, ...others] = trafficBetween(before, after)
  assert.deepEqual(others, [])
  assert.deepEqual([port!.requestsPerSecond, port!.errorsPerSecond], [100, 10])
  assert.deepEqual(
    port!.endpoints.map(({ address, requestsPerSecond }) => [address, requestsPerSecond]),
    [
      ['a:80', 50],
      ['b:80', 50],
    ],
  )
  assert.ok(port!.latency.p50! > 0.001 && port!.latency.p50! < port!.latency.p99! && port!.latency.p99! <= 0.0025)
})

test('an Envoy that has begun to count anew adds no traffic from its former counters', () => {
  const [port] = trafficBetween(sample({ at: 0, answers: 5000 }), sample({ at: 1, answers: 30 }))
  assert.equal(port!.requestsPerSecond, 0)
})

test('what several nodes send to an endpoint is added up, and a layer that differs is `mixed`', () => {
  const pinned = (count: number) =>
    trafficBetween(sample({ at: 0, answers: 0 }), sample({ at: 1, answers: 10, pinned: { 'a:80': count } }))
  const kernel = pinned(3).map(port => ({ ...port, layer: 'kernel' as const }))
  const [port] = sumOf([pinned(2), kernel])
  assert.deepEqual([port!.layer, port!.requestsPerSecond, port!.connections], ['mixed', 20, 5])
  assert.deepEqual(port!.endpoints, [{ address: 'a:80', requestsPerSecond: 0, pinnedConnections: 5 }])
})

test('an endpoint’s estimate is that of now, and of several nodes the mean', () => {
  const given = (answers: number) => ({ answers, endpoints: { 'a:80': answers, 'b:80': answers } })
  const after = (speed: number) => sample({ at: 1, ...given(10), speeds: { 'a:80': speed } })
  const nodes = [0.25, 0.75, 2].map(speed => trafficBetween(sample({ at: 0, ...given(0) }), after(speed)))
  const [port] = sumOf(nodes)
  assert.deepEqual(
    port!.endpoints.map(({ address, answersIn }) => [address, answersIn]),
    [
      ['a:80', 1],
      ['b:80', undefined],
    ],
  )
})
