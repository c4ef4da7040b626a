/**
 * Selects the statistics that Envoy keeps: those that metrics and `explain` read, and Envoy's own health. All others
 * would cost about 30 kB a Service port.
 * https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/upstream/cluster_manager/cluster_stats
 */

import type { MessageInitShape } from '@bufbuild/protobuf'
import { hostPort } from '../../net/address.ts'
import type { MetadataSchema } from '../api/envoy/config/core/v3/base_pb.js'
import type { ListenerSchema } from '../api/envoy/config/listener/v3/listener_pb.js'
import { type StatsConfigSchema, StatsMatcherSchema } from '../api/envoy/config/metrics/v3/stats_pb.js'
import { any } from '../encoding.ts'

/**
 * Names after `cluster.<id>.`, as regular expressions, from which metrics are made (observe/metrics/envoy-metrics.ts).
 */
const forMetrics = [
  'upstream_rq_[1-5]xx',
  'upstream_rq_time',
  'upstream_rq_active',
  'upstream_rq_retry',
  'upstream_cx_active',
  'upstream_cx_total',
  'upstream_cx_connect_fail',
  'outlier_detection\\.ejections_active',
  'outlier_detection\\.ejections_enforced_total',
]

/** Others that help to find out why a Service port behaves as it does. */
const forDiagnosis = [
  'upstream_rq_timeout',
  'upstream_rq_per_try_timeout',
  'upstream_rq_retry_success',
  'upstream_rq_retry_overflow',
  'upstream_rq_pending_overflow',
  'upstream_cx_overflow',
  'upstream_cx_http2_total',
  'upstream_cx_idle_timeout',
  'upstream_cx_destroy_remote',
  'membership_total',
  'membership_healthy',
  'circuit_breakers\\.\\w+\\.remaining_\\w+',
]

/** Ids of Service ports have slashes and no dots. */
const ofServicePort = (names: readonly string[], ids = '[^.]+/[^.]+') => `^cluster\\.${ids}\\.(?:${names.join('|')})$`

/**
 * Selects, for the admin interface, the statistics of Service ports from which metrics are made.
 *
 * @param service `namespace` or `namespace/name`; undefined for all
 */
export function metricsFilter(service?: string): string {
  return service === undefined ? ofServicePort(forMetrics) : ofServicePort(forMetrics, `\\Q${service}\\E/[^.]+`)
}

/** A Service's listener is removed from Envoy when its last connection has gone. */
const ofListener = ['downstream_cx_active', 'downstream_cx_total']

/** The fields of a listener that decide about statistics. */
export type ListenerStats = Pick<MessageInitShape<typeof ListenerSchema>, 'statPrefix' | 'metadata'>

/** Keeps how many connections the listener has and had, under its address. */
export function listenerStats(ip: string, port: number): ListenerStats {
  return { metadata: onlyOfListener(statsNameOf(hostPort(ip, port))) }
}

/** Counts shared listeners together: nothing asks for the connections of one. */
export const sharedListenerStats: ListenerStats = { statPrefix: 'shared', metadata: onlyOfListener('listener.shared') }

/**
 * For the metadata of a listener: the only statistics kept of it and of its filters. Envoy compares whole names, each
 * with a dot behind it, at once. Names that it has to match against regular expressions it remembers for each listener:
 * 6 kB.
 * https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/advanced/metadata_configurations#envoy-stats-matcher
 */
function onlyOfListener(statsName: string): MessageInitShape<typeof MetadataSchema> {
  const patterns = ofListener.map(name => beginningWith(`${statsName}.${name}.`))
  const matcher = any(StatsMatcherSchema, { statsMatcher: { case: 'inclusionList', value: { patterns } } })
  return { typedFilterMetadata: { 'envoy.stats_matcher': matcher } }
}

/** Envoy writes addresses in statistics without colons. */
export function statsNameOf(listenerAddress: string): string {
  return `listener.${listenerAddress.replaceAll(':', '_')}`
}

const ofEnvoy = ['server.', 'cluster_manager.', 'listener_manager.', 'control_plane.', 'cluster.xds.']

/** Upper bounds of the histogram upstream_rq_time, in milliseconds. */
const latencyBuckets = [0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000]

export const statsConfig: MessageInitShape<typeof StatsConfigSchema> = {
  statsMatcher: {
    statsMatcher: {
      case: 'inclusionList',
      value: {
        patterns: [
          ...ofEnvoy.map(beginningWith),
          matching(ofServicePort([...forMetrics, ...forDiagnosis])),
          // Not those of single workers.
          matching(`listener\\.(?:[\\d.]+|\\[[^\\]]+\\])_\\d+\\.(?:${ofListener.join('|')})`),
        ],
      },
    },
  },
  histogramBucketSettings: [
    { match: { matchPattern: { case: 'suffix', value: 'upstream_rq_time' } }, buckets: latencyBuckets },
  ],
}

function beginningWith(prefix: string) {
  return { matchPattern: { case: 'prefix', value: prefix } } as const
}

function matching(regex: string) {
  return { matchPattern: { case: 'safeRegex', value: { regex } } } as const
}
