import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { translateEnvoyMetrics } from './envoy-metrics.ts'

const lines = (text: string) =>
  translateEnvoyMetrics([text])
    .split('\n')
    .filter(line => !line.startsWith('#') && line !== '')

describe("Envoy's statistics", () => {
  test('of requests are counted by Service port and class of status code', () => {
    const input =
      'envoy_cluster_upstream_rq_xx{envoy_response_code_class="2",envoy_cluster_name="whoami/whoami/http"} 42'
    assert.deepEqual(lines(input), [
      'lightpath_requests_total{namespace="whoami",service="whoami",port="http",code_class="2xx"} 42',
    ])
  })
  test('of the second family of a dual-stack Service name it', () => {
    const [line] = lines('envoy_cluster_upstream_rq_retry{envoy_cluster_name="a/b/http/IPv6"} 1')
    assert.equal(line, 'lightpath_retries_total{namespace="a",service="b",port="http",family="IPv6"} 1')
  })
  test('of connections are counted by Service port, and those that failed', () => {
    const input = ['total', 'connect_fail']
      .map(what => `envoy_cluster_upstream_cx_${what}{envoy_cluster_name="a/b/db"} 2`)
      .join('\n')
    assert.deepEqual(lines(input), [
      'lightpath_connections_total{namespace="a",service="b",port="db"} 2',
      'lightpath_connect_failures_total{namespace="a",service="b",port="db"} 2',
    ])
  })
  test('of latency come in seconds, sum and bounds alike', () => {
    const input = [
      'envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="a/b/http",le="0.5"} 1',
      'envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="a/b/http",le="+Inf"} 3',
      'envoy_cluster_upstream_rq_time_sum{envoy_cluster_name="a/b/http"} 1500',
      'envoy_cluster_upstream_rq_time_count{envoy_cluster_name="a/b/http"} 3',
    ].join('\n')
    assert.deepEqual(lines(input), [
      'lightpath_request_duration_seconds_bucket{namespace="a",service="b",port="http",le="0.0005"} 1',
      'lightpath_request_duration_seconds_bucket{namespace="a",service="b",port="http",le="+Inf"} 3',
      'lightpath_request_duration_seconds_sum{namespace="a",service="b",port="http"} 1.5',
      'lightpath_request_duration_seconds_count{namespace="a",service="b",port="http"} 3',
    ])
  })
  test('of clusters that are no Service port, and statistics that nobody asked for, are left out', () => {
    const input = [
      'envoy_cluster_upstream_rq_retry{envoy_cluster_name="xds"} 1',
      'envoy_cluster_upstream_rq_retry_overflow{envoy_cluster_name="a/b/http"} 1',
      'envoy_server_live{} 1',
      '',
      'envoy_cluster_upstream_rq_retry{broken',
    ].join('\n')
    assert.equal(translateEnvoyMetrics([input]), '')
  })
  test('have one HELP and TYPE line a metric, before its samples', () => {
    const input = ['a/b/http', 'a/c/http'].map(
      name => `envoy_cluster_upstream_rq_retry{envoy_cluster_name="${name}"} 1`,
    )
    assert.equal(translateEnvoyMetrics([input.join('\n')]).match(/# TYPE lightpath_retries_total counter/g)?.length, 1)
  })
})
