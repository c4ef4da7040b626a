import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createKubeProxyMetrics } from './kubeproxy-metrics.ts'
import { createMetrics } from './metrics.ts'
import { metricsPages } from './pages.ts'

const nothing = new Map<string, never>()
const metrics = createMetrics({
  objects: () => ({ services: 1 }),
  overlayOff: () => false,
  overlayEntries: () => 0,
  draining: () => 0,
  waiting: () => 0,
  kernelElements: () => 0,
  envoyUp: () => true,
  eligible: () => 0,
  redirectExemptPods: () => 0,
  excluded: () => [],
  paths: () => [],
  problems: () => nothing,
  xds: () => nothing,
})
createKubeProxyMetrics(metrics.registry, ['IPv4'], () => [])

/** Pages of these metrics, and how often Envoy was asked for them. */
function pages() {
  const asked = { times: 0 }
  const envoy = async () => {
    asked.times++
    return ['envoy_cluster_upstream_rq_retry{envoy_cluster_name="shop/web/http"} 1\n']
  }
  return { asked, ...metricsPages({ node: metrics.registry, services: metrics.services, envoy }) }
}

test('the public page names no Service, that for the authorized does', async () => {
  metrics.nacks.inc({ service_port: 'shop/web/http' })
  const { node, all, asked } = pages()
  const open = String((await node()).body)
  assert.match(open, /^lightpath_envoy_up 1$/m)
  assert.doesNotMatch(open, /shop|web/)
  assert.equal(asked.times, 0)
  const closed = String((await all()).body)
  for (const line of [
    /^lightpath_envoy_up 1$/m,
    /^lightpath_xds_rejected_resources_total\{service_port="shop\/web\/http"\} 1$/m,
    /^lightpath_retries_total\{namespace="shop",service="web",port="http"\} 1$/m,
  ]) {
    assert.match(closed, line)
  }
})

test('no metric of the public page has a label with a tenant’s name', async () => {
  const tenants = ['namespace', 'service', 'service_port', 'pod', 'endpoint', 'name', 'object']
  const labels = (await metrics.registry.getMetricsAsArray()).flatMap(metric =>
    'labelNames' in metric ? (metric.labelNames as readonly string[]) : [],
  )
  assert.ok(labels.length > 5)
  assert.deepEqual(
    labels.filter(label => tenants.includes(label)),
    [],
  )
})

test('everybody who asks within a second gets one page', async () => {
  const { all, asked } = pages()
  const bodies = await Promise.all(Array.from({ length: 1000 }, async () => (await all()).body))
  assert.equal(new Set(bodies).size, 1)
  assert.equal(asked.times, 1)
})
