/**
 * Makes a Service port an Envoy cluster: how it connects to endpoints, chooses among them and leaves failing ones out.
 */

import type { MessageInitShape } from '@bufbuild/protobuf'
import type { Duration } from '@bufbuild/protobuf/wkt'
import { type LbPolicy, lbPolicies, type Settings } from '../../../services/settings/settings.ts'
import { fromAds } from '../../ads.ts'
import type {
  CircuitBreakers_ThresholdsSchema,
  CircuitBreakersSchema,
} from '../../api/envoy/config/cluster/v3/circuit_breaker_pb.js'
import { Cluster_DiscoveryType, ClusterSchema } from '../../api/envoy/config/cluster/v3/cluster_pb.js'
import type { OutlierDetectionSchema } from '../../api/envoy/config/cluster/v3/outlier_detection_pb.js'
import { RoutingPriority } from '../../api/envoy/config/core/v3/base_pb.js'
import { asField, duration, encode, memoize, merge, resource } from '../../encoding.ts'
import type { Protocol } from '../../protocols/protocol.ts'
import { protocolOf } from '../../protocols/protocols.ts'
import { type Resource, typeUrls } from '../../resource.ts'
import { type Frontend, resourceNameOf } from '../frontend.ts'
import { type BalancingNode, lbPolicyOf, loadBalancing } from './loadbalancing.ts'

/**
 * Makes the cluster. It requires nothing, but Envoy serves it only with its endpoints. Its statistics have the Service
 * port's id.
 */
export function clusterResource(frontend: Frontend, node: BalancingNode = {}): Resource {
  const { id, namespace, settings } = frontend
  const name = resourceNameOf(frontend)
  const parts = sharedParts[lbPolicyOf(frontend, node).policy]
  const balancing = parts.balancing(settings)(namespace)
  const shared = parts.cluster(protocolOf(frontend))(settings)
  const { field } = ClusterSchema
  const encoded = () => merge(balancing, shared, asField(field.name, name), asField(field.altStatName, id))
  return resource(typeUrls.cluster, name, encoded)
}

/** Everything of a cluster but its names, which depends on policy, protocol, settings and namespace only. */
const sharedParts = Object.fromEntries(lbPolicies.map(policy => [policy, partsWith(policy)])) as Readonly<
  Record<LbPolicy, ReturnType<typeof partsWith>>
>

function partsWith(policy: LbPolicy) {
  return { balancing: loadBalancing(policy), cluster: clusterWith(policy) }
}

function clusterWith(policy: LbPolicy) {
  return memoize((protocol: Protocol) =>
    memoize((settings: Settings) =>
      encode(ClusterSchema, {
        typedExtensionProtocolOptions: protocol.clusterOptions(settings),
        clusterDiscoveryType: { case: 'type', value: Cluster_DiscoveryType.EDS },
        edsClusterConfig: { edsConfig: fromAds },
        connectTimeout: duration(settings.upstreamConnectTimeout),
        circuitBreakers: circuitBreakers(settings),
        outlierDetection: outlierDetection(policy, settings),
        upstreamConnectionOptions: { tcpKeepalive: protocol.upstreamKeepalive },
      }),
    ),
  )
}

function circuitBreakers(settings: Settings): MessageInitShape<typeof CircuitBreakersSchema> {
  return {
    thresholds: [
      {
        priority: RoutingPriority.DEFAULT,
        maxConnections: settings.circuitBreakerDefaultMaxConnections,
        maxPendingRequests: settings.circuitBreakerDefaultMaxPendingRequests,
        maxRequests: settings.circuitBreakerDefaultMaxRequests,
        trackRemaining: settings.trackRemaining,
        ...retryLimit(settings.circuitBreakerDefaultMaxRetries, budgetInterval),
      },
      {
        priority: RoutingPriority.HIGH,
        maxConnections: settings.circuitBreakerHighMaxConnections,
        maxPendingRequests: settings.circuitBreakerHighMaxPendingRequests,
        maxRequests: settings.circuitBreakerHighMaxRequests,
        trackRemaining: settings.trackRemaining,
        ...retryLimit(settings.circuitBreakerHighMaxRetries),
      },
    ],
  }
}

/**
 * Retries may be a fifth of the requests of the last 10 s, as by default in the Gateway API (GEP-3388). A fifth of
 * those in flight is too little: where one of three endpoints dies, more fail at once, and all are to be tried again.
 * So are three at once for a Service with few requests (Envoy's default): a server of one thread whose queue is full
 * lets dozens of clients wait for a connection, each try for half a second, where Linux behind kube-proxy goes on
 * asking.
 *
 * Envoy moves this window on in ten steps, each by a timer of the cluster on its main thread. With windows of 1 s,
 * 10,000 clusters took a fifth of that thread, and changes waited for it.
 */
const budgetInterval = duration(10e3)
const fewRetries = 100

/** A budget overrides max_retries in Envoy, so there is only one of them. No route has the priority HIGH: no window for it. */
function retryLimit(
  maxRetries: number | undefined,
  budgetInterval?: Duration,
): MessageInitShape<typeof CircuitBreakers_ThresholdsSchema> {
  if (maxRetries !== undefined) return { maxRetries }
  return { retryBudget: { budgetPercent: { value: 20 }, minRetryConcurrency: fewRetries, budgetInterval } }
}

/**
 * Leaves failing endpoints out for a while. One always may be ejected, however small the percentage; where that was the
 * last one, or more than half are ejected, Envoy's panic threshold (50 %) makes it use all of them, as kube-proxy
 * would. Errors that Envoy observes itself (connect, reset, time-out) count as 5xx and gateway failure, so tcp has them
 * too.
 *
 * A module cannot choose an ejected endpoint, and has no panic threshold. So with PEAK_EWMA one always stays: half of
 * them may be ejected, which is none of one.
 * https://www.envoyproxy.io/docs/envoy/v1.40.0/intro/arch_overview/upstream/outlier
 */
function outlierDetection(policy: LbPolicy, settings: Settings): MessageInitShape<typeof OutlierDetectionSchema> {
  const baseEjectionTime = settings.outlierDetectionBaseEjectionTime
  return {
    interval: duration(settings.outlierDetectionInterval),
    baseEjectionTime: duration(baseEjectionTime),
    // Envoy rejects a maximum below the base.
    maxEjectionTime: duration(Math.max(baseEjectionTime, settings.outlierDetectionMaxEjectionTime)),
    maxEjectionPercent: policy === 'PEAK_EWMA' ? 50 : settings.outlierDetectionMaxEjectionPercent,
    alwaysEjectOneHost: policy !== 'PEAK_EWMA',
    consecutive5xx: settings.outlierDetectionConsecutive5xx,
    enforcingConsecutive5xx: enforced(settings.outlierDetectionConsecutive5xx),
    consecutiveGatewayFailure: settings.outlierDetectionConsecutiveGatewayFailure,
    enforcingConsecutiveGatewayFailure: enforced(settings.outlierDetectionConsecutiveGatewayFailure),
    enforcingSuccessRate: 0,
    enforcingFailurePercentage: 0,
  }
}

/** The percentage of detections that eject. 0 errors in a row mean never. */
function enforced(consecutive: number): number {
  return consecutive === 0 ? 0 : 100
}
