/**
 * The settings that the owner of a Service may give one of its ports; definitions.ts says of each what it means and
 * takes.
 */

import type { EnvoyProtocol } from './envoyprotocol.ts'

export const lbPolicies = ['LEAST_REQUEST', 'PEAK_EWMA', 'ROUND_ROBIN', 'RANDOM', 'RING_HASH', 'MAGLEV'] as const
export type LbPolicy = (typeof lbPolicies)[number]

/** Policies for a node where a port's settings have none: they suit all that is balanced by request. */
export const nodeLbPolicies = ['LEAST_REQUEST', 'PEAK_EWMA'] as const satisfies readonly LbPolicy[]
export type NodeLbPolicy = (typeof nodeLbPolicies)[number]

/** Durations are in milliseconds; where 0 is allowed it means "no such limit" (`none`). */
export interface Settings {
  /** undefined: what appProtocol and the port's name say (protocol.ts). */
  readonly protocol: EnvoyProtocol | undefined
  /** undefined: as the rules of protocol.ts decide. */
  readonly overlay: 'true' | 'false' | 'always' | undefined
  /** Whether connections that began in the kernel layer end when the port is promoted to Envoy. */
  readonly rebalance: boolean
  /** Whether external clients go through Envoy, too. */
  readonly external: boolean
  /** undefined: by protocol (http and grpc 300s, redis and tcp none). */
  readonly idleTimeout: number | undefined
  /** undefined: as the node does (`--first-bytes-timeout`). */
  readonly firstBytesTimeout: number | undefined
  readonly upstreamIdleTimeout: number
  readonly requestTimeout: number
  readonly upstreamRequestTimeout: number
  readonly upstreamConnectTimeout: number
  readonly accessLog: 'true' | 'false' | 'errors'
  /** undefined: as the node does (`--lb-policy`). */
  readonly lbPolicy: LbPolicy | undefined
  readonly slowStart: number
  readonly spillOver: boolean
  readonly retryEnabled: boolean
  readonly numRetries: number
  readonly retryOn: string
  readonly retryIdempotent: boolean
  readonly retryNonIdempotent: boolean
  readonly reuseConnections: 'safe' | 'always' | 'never'
  readonly forwardedHeaders: 'auto' | 'add' | 'none'
  readonly halfClose: 'auto' | 'true' | 'false'
  readonly circuitBreakerDefaultMaxConnections: number
  readonly circuitBreakerDefaultMaxPendingRequests: number
  readonly circuitBreakerDefaultMaxRequests: number
  /** undefined: the retry budget (20 % of recent requests, at least 100). */
  readonly circuitBreakerDefaultMaxRetries: number | undefined
  readonly circuitBreakerHighMaxConnections: number
  readonly circuitBreakerHighMaxPendingRequests: number
  readonly circuitBreakerHighMaxRequests: number
  readonly circuitBreakerHighMaxRetries: number | undefined
  readonly trackRemaining: boolean
  readonly outlierDetectionInterval: number
  readonly outlierDetectionBaseEjectionTime: number
  readonly outlierDetectionMaxEjectionTime: number
  readonly outlierDetectionMaxEjectionPercent: number
  readonly outlierDetectionConsecutive5xx: number
  readonly outlierDetectionConsecutiveGatewayFailure: number
  readonly outlierDetectionFailurePercentage: number
  readonly outlierDetectionSlowness: number
}
