/**
 * Keeps the metrics that kube-proxy's users have on their dashboards, under kube-proxy's names, with its labels and
 * buckets (pkg/proxy/metrics of Kubernetes 1.37, mode nftables). Those for which there is nothing here are left out:
 * chains that are cleaned up later. Of conntrack, entries of the UDP ports that changed are reconciled, not all.
 */

import { Counter, exponentialBuckets, Gauge, Histogram, linearBuckets, type Registry } from 'prom-client'
import type { IpFamily } from '../../net/address.ts'
import type { External, PortState } from '../../plan/ports/port.ts'
import { type Change, describeKey, type KubeObject, keyOf } from '../../services/objects/objects.ts'

/** One sync of the kernel's rules; times by performance.now(). */
interface SyncResult {
  readonly ok: boolean
  readonly isFull: boolean
  /** Everything that was asked for before this time is written. */
  readonly syncedThrough: number
  readonly milliseconds: number
}

interface Reconciliation {
  readonly family: IpFamily
  readonly removed: number
  readonly milliseconds: number
}

type LocalEndpoints = Pick<PortState, 'family' | 'noLocalEndpoints'> & {
  readonly external: Pick<External, 'noLocalEndpoints'> | undefined
}

/** A changed object that the kernel does not have yet. */
interface Pending {
  readonly object: KubeObject
  readonly at: number
  /** When the pod or Service changed that caused this, in milliseconds since the epoch. */
  readonly triggered: number | undefined
  /** Families whose rules are not written yet. */
  readonly waiting: Set<IpFamily>
}

const syncBuckets = exponentialBuckets(0.001, 2, 15)
const programmingBuckets = [
  ...linearBuckets(0.25, 0.25, 2),
  ...linearBuckets(1, 1, 59),
  ...linearBuckets(60, 5, 12),
  ...linearBuckets(120, 30, 7),
]

export type KubeProxyMetrics = ReturnType<typeof createKubeProxyMetrics>

/**
 * @param served the families of this node
 * @param states reads all ports, whenever somebody asks
 */
export function createKubeProxyMetrics(
  registry: Registry,
  served: readonly IpFamily[],
  states: () => Iterable<LocalEndpoints>,
) {
  const startedAt = Date.now()
  /** By object: several changes before a sync are one. */
  const pending = new Map<string, Pending>()
  const pendingOf = (kind: KubeObject['kind']) =>
    [...pending.values()].filter(({ object }) => object.kind === kind).length

  const registers = [registry]
  const named = (name: string, help: string) => ({ name: `kubeproxy_${name}`, help, registers })
  const perFamily = (name: string, help: string) => ({ ...named(name, help), labelNames: ['ip_family'] })
  const byCode = (name: string, help: string) => new Counter({ ...named(name, help), labelNames: ['code'] })
  const duration = (name: string, help: string) => new Histogram({ ...perFamily(name, help), buckets: syncBuckets })
  const gauge = (name: string, help: string, read: () => number) =>
    new Gauge({
      ...named(name, help),
      collect() {
        this.set(read())
      },
    })

  const syncs = duration('sync_proxy_rules_duration_seconds', 'Duration of a sync of the rules.')
  const fullSyncs = duration('sync_full_proxy_rules_duration_seconds', 'Duration of a sync that compares all rules.')
  const partSyncs = duration(
    'sync_partial_proxy_rules_duration_seconds',
    'Duration of a sync that writes what changed.',
  )
  const failures = new Counter(perFamily('sync_proxy_rules_nftables_sync_failures_total', 'Syncs in which nft failed.'))
  const lastSynced = new Gauge(perFamily('sync_proxy_rules_last_timestamp_seconds', 'When rules were last written.'))
  const lastQueued = new Gauge(
    perFamily('sync_proxy_rules_last_queued_timestamp_seconds', 'When rules were last asked for.'),
  )
  const programming = new Histogram({
    ...perFamily('network_programming_duration_seconds', 'From the change of a pod or Service to its rules here.'),
    buckets: programmingBuckets,
  })
  const changes = {
    Service: new Counter(named('sync_proxy_rules_service_changes_total', 'Changes of Services.')),
    EndpointSlice: new Counter(named('sync_proxy_rules_endpoint_changes_total', 'Changes of EndpointSlices.')),
  }
  gauge('sync_proxy_rules_service_changes_pending', 'Changed Services whose rules are not written yet.', () =>
    pendingOf('Service'),
  )
  gauge('sync_proxy_rules_endpoint_changes_pending', 'Changed EndpointSlices whose rules are not written yet.', () =>
    pendingOf('EndpointSlice'),
  )
  new Gauge({
    ...named(
      'sync_proxy_rules_no_local_endpoints_total',
      'Service ports with a Local traffic policy that have endpoints on other nodes only.',
    ),
    labelNames: ['traffic_policy', 'ip_family'],
    collect() {
      for (const traffic_policy of ['internal', 'external']) {
        for (const ip_family of served) this.set({ traffic_policy, ip_family }, 0)
      }
      for (const { family: ip_family, noLocalEndpoints, external } of states()) {
        if (noLocalEndpoints) this.inc({ traffic_policy: 'internal', ip_family })
        if (external?.noLocalEndpoints) this.inc({ traffic_policy: 'external', ip_family })
      }
    },
  })
  const reconciliations = duration(
    'conntrack_reconciler_sync_duration_seconds',
    'Duration of looking through conntrack.',
  )
  const forgotten = new Counter(
    perFamily('conntrack_reconciler_deleted_entries_total', 'Conntrack entries that had gone stale and were removed.'),
  )
  const answers = {
    healthz: byCode('proxy_healthz_total', 'Answers of /healthz, by status.'),
    livez: byCode('proxy_livez_total', 'Answers of /livez, by status.'),
  }

  const stamp = (gauge: Gauge<'ip_family'>, families: Iterable<IpFamily>) => {
    for (const ip_family of new Set(families)) gauge.set({ ip_family }, Date.now() / 1000)
  }

  return {
    /** @param services those that the changes concern, as namespace/name, and in which families */
    changed(received: readonly Change[], services: ReadonlyMap<string, ReadonlySet<IpFamily>>, at: number): void {
      for (const change of received) {
        const key = change.type === 'put' ? keyOf(change.object) : change.key
        if (key.kind === 'Service' || key.kind === 'EndpointSlice') changes[key.kind].inc()
        const families = change.type === 'put' ? services.get(serviceOf(change.object)) : undefined
        if (change.type === 'put' && families) {
          const object = describeKey(key)
          // The change of a slice that has waited for longest counts.
          const triggered = pending.get(object)?.triggered ?? triggerOf(change.object, startedAt)
          const asked = [...(pending.get(object)?.waiting ?? []), ...families]
          const waiting = new Set(asked.filter(family => served.includes(family)))
          pending.set(object, { object: change.object, at, triggered, waiting })
        }
      }
      stamp(
        lastQueued,
        [...services.values()].flatMap(families => [...families]),
      )
    },

    syncResult(ip_family: IpFamily, { ok, isFull, syncedThrough, milliseconds }: SyncResult): void {
      if (!ok) failures.inc({ ip_family })
      for (const histogram of [syncs, isFull ? fullSyncs : partSyncs]) {
        histogram.observe({ ip_family }, milliseconds / 1000)
      }
      if (!ok) return
      stamp(lastSynced, [ip_family])
      const now = Date.now()
      for (const [key, { object, at, triggered, waiting }] of pending) {
        if (at > syncedThrough) continue
        waiting.delete(ip_family)
        if (waiting.size > 0) continue
        pending.delete(key)
        if (object.kind !== 'EndpointSlice' || triggered === undefined) continue
        programming.observe({ ip_family: object.family }, (now - triggered) / 1000)
      }
    },

    reconciled(families: readonly Reconciliation[]): void {
      for (const { family: ip_family, removed, milliseconds } of families) {
        reconciliations.observe({ ip_family }, milliseconds / 1000)
        forgotten.inc({ ip_family }, removed)
      }
    },

    answered(page: 'healthz' | 'livez', status: number): void {
      answers[page].inc({ code: status })
    },
  }
}

function serviceOf(object: KubeObject): string {
  if (object.kind === 'Service') return `${object.namespace}/${object.name}`
  return object.kind === 'EndpointSlice' ? `${object.namespace}/${object.service}` : ''
}

/** A change from before the agent's start does not show how long it takes. */
function triggerOf(object: KubeObject, startedAt: number): number | undefined {
  const triggered = object.kind === 'EndpointSlice' ? object.triggered : undefined
  return triggered !== undefined && triggered > startedAt ? triggered : undefined
}
