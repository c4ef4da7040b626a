/**
 * gRPC: HTTP/2 whose answers say in trailers how a call went. Each call goes to an endpoint of its own, by the calls that each
 * endpoint has in flight, over connections that are kept. What is no call on the same port (HTTP/1.1 health checks, gRPC-Web)
 * is as on a http port, whose connection manager and listeners this is, too.
 *
 * Nothing limits how long a call takes: Envoy leaves `grpc-timeout` to client and endpoint, as it does where a route has no
 * max_stream_duration. It answers pings itself and sends endpoints none, since servers end connections that ping more often
 * than they allow (grpc-go: once in 5 minutes).
 *
 * To outlier detection the status with which an answer begins is an HTTP status: UNKNOWN, INTERNAL and DATA_LOSS are 500,
 * UNIMPLEMENTED 501, UNAVAILABLE 503, DEADLINE_EXCEEDED 504; the others count as well. An error_matcher of the cluster
 * makes no difference to them (tried with 1.40). A status behind messages it does not see.
 * https://www.envoyproxy.io/docs/envoy/v1.40.0/intro/arch_overview/other_protocols/grpc
 */

import type { Settings } from '../../services/settings/settings.ts'
import { grpcRetryConditions } from '../../services/settings/values.ts'
import { http } from './http.ts'
import {
  everything,
  httpRoutes,
  retryOnUnsent,
  retryPolicy,
  routeConfigurations,
  type SharedRoute,
  sharedRoute,
  unsentPolicy,
} from './httproutes.ts'
import type { Protocol } from './protocol.ts'

export const grpc: Protocol = {
  ...http,
  routes: routeConfigurations((settings, others) => [calls(settings, others), ...httpRoutes(settings, others)]),
}

/** Content-Type application/grpc, and that with a suffix. */
const isCall = { ...everything, grpc: {} }

/**
 * Envoy cannot tell calls that may be repeated from others, since all are POST, nor unary calls from streams. So, by default,
 * a call is tried again only where the application cannot have seen it. Once an endpoint has sent a message or headers, it
 * never is: Envoy knows a status only where it comes first (trailers-only, as servers send errors).
 */
function calls(settings: Settings, others: number): SharedRoute {
  const conditions = repeatedOn(settings)
  const isRepeated = settings.retryEnabled && others > 0 && conditions.length > 0
  const policy = isRepeated
    ? retryPolicy(settings, [retryOnUnsent, ...conditions].join(','), others)
    : unsentPolicy(settings)
  return sharedRoute(settings, isCall, policy)
}

/** Who names a status in retry-on wants all calls tried again that are answered so; the other conditions are HTTP's. */
function repeatedOn({ retryNonIdempotent, retryOn }: Settings): readonly string[] {
  const conditions = retryOn.split(',')
  return retryNonIdempotent ? conditions : conditions.filter(condition => grpcRetryConditions.includes(condition))
}
