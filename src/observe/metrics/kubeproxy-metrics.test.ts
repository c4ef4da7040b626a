import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Registry } from 'prom-client'
import { aService, aSlice, put } from '../../services/testing.ts'
import { createKubeProxyMetrics } from './kubeproxy-metrics.ts'

const service = new Map([['whoami/whoami', new Set(['IPv4'] as const)]])
const dualStack = new Map([['whoami/whoami', new Set(['IPv4', 'IPv6'] as const)]])

type States = ReturnType<Parameters<typeof createKubeProxyMetrics>[2]>

function setUp(states: States = []) {
  const registry = new Registry()
  const metrics = createKubeProxyMetrics(registry, ['IPv4', 'IPv6'], () => states)
  /** The value of a sample without the prefix `kubeproxy_`; undefined where there is none. */
  const value = async (sample: string) => {
    const line = (await registry.metrics()).split('\n').find(line => line.startsWith(`kubeproxy_${sample} `))
    return line === undefined ? undefined : Number(line.slice(line.lastIndexOf(' ')))
  }
  return { registry, metrics, value }
}

const sync = (syncedThrough: number, fields = {}) => ({
  ok: true,
  isFull: false,
  syncedThrough,
  milliseconds: 3,
  ...fields,
})

describe("kube-proxy's metrics", () => {
  test('have the names, kinds and labels that kube-proxy has in mode nftables', async () => {
    const { registry, metrics } = setUp()
    metrics.changed([put(aSlice([], { triggered: Date.now() + 1 }))], service, 1)
    metrics.syncResult('IPv4', sync(1, { isFull: true }))
    metrics.syncResult('IPv4', sync(1, { ok: false }))
    metrics.reconciled([{ family: 'IPv6', removed: 3, milliseconds: 2 }])
    metrics.answered('healthz', 200)
    metrics.answered('livez', 503)
    const kinds = (await registry.getMetricsAsJSON()).map(({ name, type, values }) => {
      const labels = new Set(values.flatMap(value => Object.keys(value.labels)))
      return `${name} ${type} ${[...labels].filter(label => label !== 'le').sort()}`.trim()
    })
    assert.deepEqual(kinds.sort(), [
      'kubeproxy_conntrack_reconciler_deleted_entries_total counter ip_family',
      'kubeproxy_conntrack_reconciler_sync_duration_seconds histogram ip_family',
      'kubeproxy_network_programming_duration_seconds histogram ip_family',
      'kubeproxy_proxy_healthz_total counter code',
      'kubeproxy_proxy_livez_total counter code',
      'kubeproxy_sync_full_proxy_rules_duration_seconds histogram ip_family',
      'kubeproxy_sync_partial_proxy_rules_duration_seconds histogram ip_family',
      'kubeproxy_sync_proxy_rules_duration_seconds histogram ip_family',
      'kubeproxy_sync_proxy_rules_endpoint_changes_pending gauge',
      'kubeproxy_sync_proxy_rules_endpoint_changes_total counter',
      'kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds gauge ip_family',
      'kubeproxy_sync_proxy_rules_last_timestamp_seconds gauge ip_family',
      'kubeproxy_sync_proxy_rules_nftables_sync_failures_total counter ip_family',
      'kubeproxy_sync_proxy_rules_no_local_endpoints_total gauge ip_family,traffic_policy',
      'kubeproxy_sync_proxy_rules_service_changes_pending gauge',
      'kubeproxy_sync_proxy_rules_service_changes_total counter',
    ])
  })

  test('have its buckets: 1 ms doubled to 16 s for a sync, 250 ms to 5 minutes for network programming', async () => {
    const { registry, metrics } = setUp()
    metrics.changed([put(aSlice([], { triggered: Date.now() + 1 }))], service, 1)
    metrics.syncResult('IPv4', sync(1))
    const text = await registry.metrics()
    const bounds = (name: string) =>
      [...text.matchAll(new RegExp(`^kubeproxy_${name}_bucket\\{le="([^"]*)",ip_family="IPv4"\\}`, 'gm'))].map(
        ([, le]) => le,
      )
    const syncs = bounds('sync_proxy_rules_duration_seconds')
    assert.deepEqual([syncs.length, syncs[0], syncs.at(-2), syncs.at(-1)], [16, '0.001', '16.384', '+Inf'])
    const programming = bounds('network_programming_duration_seconds')
    assert.deepEqual(programming.slice(0, 4), ['0.25', '0.5', '1', '2'])
    assert.deepEqual(programming.slice(60, 63), ['59', '60', '65'])
    assert.deepEqual([programming.length, programming.at(-2)], [81, '300'])
  })

  test('measure network programming from the time that the slice names to the sync that wrote it, for its family', async () => {
    const { metrics, value } = setUp()
    const count = (family: string) => value(`network_programming_duration_seconds_count{ip_family="${family}"}`)
    metrics.changed([put(aSlice([], { triggered: Date.now() + 60_000 }))], service, 10)
    metrics.syncResult('IPv4', sync(9))
    metrics.syncResult('IPv4', sync(20, { ok: false }))
    assert.equal(await count('IPv4'), undefined)
    metrics.syncResult('IPv4', sync(10))
    metrics.syncResult('IPv4', sync(11))
    assert.deepEqual([await count('IPv4'), await count('IPv6')], [1, undefined])
  })

  test('do not measure what was triggered before the agent started, or leads to no rule here', async () => {
    const { metrics, value } = setUp()
    metrics.changed([put(aSlice([], { triggered: Date.now() - 60_000 }))], service, 1)
    metrics.changed([put(aSlice([], { triggered: Date.now() + 60_000, service: 'other' }))], service, 1)
    metrics.changed([put(aSlice([]))], service, 1)
    metrics.syncResult('IPv4', sync(1))
    assert.equal(await value('network_programming_duration_seconds_count{ip_family="IPv4"}'), undefined)
  })

  test('count changes, and those that are not written yet', async () => {
    const { metrics, value } = setUp()
    const values = async () => [
      await value('sync_proxy_rules_service_changes_total'),
      await value('sync_proxy_rules_service_changes_pending'),
      await value('sync_proxy_rules_endpoint_changes_total'),
      await value('sync_proxy_rules_endpoint_changes_pending'),
    ]
    assert.deepEqual(await values(), [0, 0, 0, 0])
    metrics.changed([put(aService()), put(aSlice([])), put(aSlice([], { name: 'second' }))], service, 1)
    metrics.changed([put(aSlice([]))], service, 2)
    const removed = { kind: 'EndpointSlice', namespace: 'whoami', name: 'third' } as const
    metrics.changed([{ type: 'remove', key: removed }], new Map(), 2)
    assert.deepEqual(await values(), [1, 1, 4, 2])
    metrics.syncResult('IPv4', sync(1))
    assert.deepEqual(await values(), [1, 0, 4, 1])
    metrics.syncResult('IPv4', sync(2))
    assert.deepEqual(await values(), [1, 0, 4, 0])
  })

  test('count a change of two families until both are written, and measure each family by itself', async () => {
    const { metrics, value } = setUp()
    const pending = () => value('sync_proxy_rules_service_changes_pending')
    metrics.changed([put(aService())], dualStack, 1)
    metrics.syncResult('IPv4', sync(1))
    metrics.syncResult('IPv6', sync(1, { ok: false }))
    assert.equal(await pending(), 1)
    assert.equal(await value('sync_proxy_rules_nftables_sync_failures_total{ip_family="IPv4"}'), undefined)
    metrics.syncResult('IPv6', sync(2))
    assert.equal(await pending(), 0)
  })

  test('report syncs: full and partial ones, failures, and when one was asked for and written', async () => {
    const { metrics, value } = setUp()
    const syncs = (fields = {}) => {
      for (const family of ['IPv4', 'IPv6'] as const) metrics.syncResult(family, sync(1, fields))
    }
    syncs({ isFull: true })
    syncs()
    const written = await value('sync_proxy_rules_last_timestamp_seconds{ip_family="IPv6"}')
    assert.ok(Math.abs(written! - Date.now() / 1000) < 60)
    syncs({ ok: false })
    for (const family of ['IPv4', 'IPv6']) {
      const of = (name: string) => value(`sync_${name}{ip_family="${family}"}`)
      assert.equal(await of('proxy_rules_duration_seconds_count'), 3)
      assert.equal(await of('full_proxy_rules_duration_seconds_count'), 1)
      assert.equal(await of('partial_proxy_rules_duration_seconds_count'), 2)
      assert.equal(await of('proxy_rules_nftables_sync_failures_total'), 1)
      assert.equal(await of('proxy_rules_last_queued_timestamp_seconds'), undefined)
      assert.ok(Math.abs((await of('proxy_rules_duration_seconds_sum'))! - 0.009) < 1e-9)
    }
    metrics.changed([put(aService())], service, 2)
    assert.ok((await value('sync_proxy_rules_last_queued_timestamp_seconds{ip_family="IPv4"}'))! >= written!)
  })

  test('count ports of Local policies without endpoints here, by policy and family, also none', async () => {
    const { value } = setUp([
      { family: 'IPv4', noLocalEndpoints: false, external: { noLocalEndpoints: true } },
      { family: 'IPv4', noLocalEndpoints: false, external: { noLocalEndpoints: true } },
      { family: 'IPv6', noLocalEndpoints: true, external: { noLocalEndpoints: false } },
      { family: 'IPv6', noLocalEndpoints: false, external: undefined },
    ])
    const of = (policy: string, family: string) =>
      value(`sync_proxy_rules_no_local_endpoints_total{traffic_policy="${policy}",ip_family="${family}"}`)
    assert.deepEqual(
      [await of('external', 'IPv4'), await of('external', 'IPv6'), await of('internal', 'IPv6')],
      [2, 0, 1],
    )
  })
})
