/** Parses what Envoy has counted for each Service port since it started. Pure. */

import { clusterSamples } from '../observe/metrics/envoy-samples.ts'

export interface Counters {
  /** Answers to clients, and those of them with a status from 500 up. */
  readonly answers: number
  readonly errors: number
  readonly retries: number
  readonly ejections: number
  /** Connections to endpoints, and those that failed. */
  readonly connections: number
  readonly connectFailures: number
  /** By upper bound in seconds, `+Inf` the last: answers that took no longer. */
  readonly latency: Readonly<Record<string, number>>
  /** Now: endpoints that are ejected, requests in flight. */
  readonly ejected: number
  readonly active: number
}

type Sums = { -readonly [name in keyof Counters]: Counters[name] } & { latency: Record<string, number> }

function nothing(): Sums {
  return {
    answers: 0,
    errors: 0,
    retries: 0,
    ejections: 0,
    connections: 0,
    connectFailures: 0,
    ejected: 0,
    active: 0,
    latency: {},
  }
}

const names: Readonly<Record<string, Exclude<keyof Counters, 'latency'>>> = {
  envoy_cluster_upstream_rq_retry: 'retries',
  envoy_cluster_outlier_detection_ejections_enforced_total: 'ejections',
  envoy_cluster_outlier_detection_ejections_active: 'ejected',
  envoy_cluster_upstream_cx_total: 'connections',
  envoy_cluster_upstream_cx_connect_fail: 'connectFailures',
  envoy_cluster_upstream_rq_active: 'active',
}

/**
 * Counters by Service port (`namespace/service/port`): its IP families, its frontends and the node's Envoys together.
 */
export function readCounters(texts: readonly string[]): ReadonlyMap<string, Counters> {
  const all = new Map<string, Sums>()
  for (const { base, suffix, labels, value } of clusterSamples(texts)) {
    const key = portKeyOf(labels.get('envoy_cluster_name') ?? '')
    if (key === undefined) continue
    const sums = all.get(key) ?? nothing()
    all.set(key, sums)
    const name = names[base + suffix]
    if (name) sums[name] += value
    else if (base === 'envoy_cluster_upstream_rq_xx') {
      sums.answers += value
      if (labels.get('envoy_response_code_class') === '5') sums.errors += value
    } else if (base === 'envoy_cluster_upstream_rq_time' && suffix === '_bucket') {
      const bound = boundOf(labels.get('le') ?? '')
      sums.latency[bound] = (sums.latency[bound] ?? 0) + value
    }
  }
  return all
}

/** The Service port of a cluster's name in statistics; undefined for one that is no Service port's. */
function portKeyOf(cluster: string): string | undefined {
  const parts = cluster.split('/')
  return parts.length < 3 ? undefined : parts.slice(0, 3).join('/')
}

/** Envoy's bounds are in milliseconds. */
function boundOf(le: string): string {
  return le === '+Inf' ? le : String(Number(le) / 1000)
}
