/**
 * Renames Envoy's statistics of each Service port to Lightpath's metrics, and adds up those of two Envoys. Pure:
 * Prometheus text in, Prometheus text out.
 *
 * The input is Envoy's `/stats/prometheus`, where a Service port is the cluster of its id (`namespace/name/port`), and
 * its external frontend is one more (envoy/resources/frontend.ts).
 */

import { clusterSamples } from './envoy-samples.ts'

interface Translation {
  readonly name: string
  readonly help: string
  readonly type: 'counter' | 'gauge' | 'histogram'
  /** A label of Envoy's that is kept, and its name here. */
  readonly keep?: readonly [theirs: string, ours: string]
}

const translations: Readonly<Record<string, Translation>> = {
  envoy_cluster_upstream_rq_xx: {
    name: 'lightpath_requests_total',
    help: 'Answers to clients, by class of status code; a try that was repeated is in lightpath_retries_total alone.',
    type: 'counter',
    keep: ['envoy_response_code_class', 'code_class'],
  },
  envoy_cluster_upstream_rq_time: {
    name: 'lightpath_request_duration_seconds',
    help: 'Time from the request to the end of its answer.',
    type: 'histogram',
  },
  envoy_cluster_upstream_rq_retry: { name: 'lightpath_retries_total', help: 'Requests tried again.', type: 'counter' },
  envoy_cluster_upstream_rq_active: { name: 'lightpath_active_requests', help: 'Requests in flight.', type: 'gauge' },
  envoy_cluster_upstream_cx_active: {
    name: 'lightpath_active_connections',
    help: 'Connections from Envoy to endpoints.',
    type: 'gauge',
  },
  envoy_cluster_upstream_cx_total: {
    name: 'lightpath_connections_total',
    help: 'Connections from Envoy to endpoints, those that failed included.',
    type: 'counter',
  },
  envoy_cluster_upstream_cx_connect_fail: {
    name: 'lightpath_connect_failures_total',
    help: 'Connections that an endpoint refused or did not answer in time; another try may have followed.',
    type: 'counter',
  },
  envoy_cluster_outlier_detection_ejections_active: {
    name: 'lightpath_ejected_endpoints',
    help: 'Endpoints that are ejected now.',
    type: 'gauge',
  },
  envoy_cluster_outlier_detection_ejections_enforced_total: {
    name: 'lightpath_ejections_total',
    help: 'Ejections of endpoints.',
    type: 'counter',
  },
}

/** Samples of other statistics and of clusters that are no Service port are left out. */
export function translateEnvoyMetrics(texts: readonly string[]): string {
  const byName = new Map<Translation, Map<string, number>>()
  for (const { base, suffix, labels, value } of clusterSamples(texts)) {
    // Counters of Envoy may end in _count too: only a histogram has parts.
    const translation = translations[base] ?? translations[base + suffix]
    if (!translation || (suffix !== '' && translation.type !== 'histogram')) continue
    const ours = ourLabels(translation, labels)
    if (!ours) continue
    const seconds = translation.type === 'histogram' && suffix === '_sum' ? value / 1000 : value
    const samples = byName.get(translation) ?? new Map<string, number>()
    byName.set(translation, samples)
    const key = `${translation.name}${suffix}{${ours}}`
    samples.set(key, (samples.get(key) ?? 0) + seconds)
  }
  return [...byName]
    .map(([{ name, help, type }, samples]) => {
      const lines = [...samples].map(([key, value]) => `${key} ${value}\n`)
      return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join('')}`
    })
    .join('')
}

function ourLabels(translation: Translation, labels: ReadonlyMap<string, string>): string | undefined {
  const [namespace, service, port, ...more] = labels.get('envoy_cluster_name')?.split('/') ?? []
  if (port === undefined) return undefined
  const own = [
    `namespace="${namespace}"`,
    `service="${service}"`,
    `port="${port}"`,
    ...more.map(word => (word === 'external' ? 'frontend="external"' : `family="${word}"`)),
  ]
  if (translation.keep) {
    const [theirs, ours] = translation.keep
    own.push(`${ours}="${labels.get(theirs)}${ours === 'code_class' ? 'xx' : ''}"`)
  }
  const le = labels.get('le')
  if (le !== undefined) own.push(`le="${le === '+Inf' ? le : Number(le) / 1000}"`)
  return own.join(',')
}
