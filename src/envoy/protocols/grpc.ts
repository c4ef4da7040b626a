/**
 * Serves gRPC: HTTP/2 whose answers say in trailers how a call went. Each call goes to an endpoint of its own, by the
 * calls that each endpoint has in flight, over connections that are kept. Requests on the same port that are no calls
 * (HTTP/1.1 health checks, gRPC-Web) are served as on an http port, whose connection manager and listeners this uses,
 * too.
 *
 * Nothing limits how long a call takes: Envoy leaves `grpc-timeout` to client and endpoint where a route has no
 * max_stream_duration. It answers pings itself and sends endpoints none, since servers end connections that ping more
 * often than they allow (grpc-go: once in 5 minutes).
 *
 * Outlier detection takes the status with which an answer begins as an HTTP status: UNKNOWN, INTERNAL and DATA_LOSS are
 * 500, UNIMPLEMENTED 501, UNAVAILABLE 503, DEADLINE_EXCEEDED 504; the others count as success. An error_matcher of the
 * cluster makes no difference to them (tried with 1.40). It does not see a status behind messages.
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
  routes: routeConfigurations((settings, of) => [calls(settings, of.others), ...httpRoutes(settings, of)]),
}

/** Content-Type application/grpc, and that with a suffix. */
const isCall = { ...everything, grpc: {} }

/**
 * Envoy cannot tell calls that may be repeated from others, since all are POST, nor unary calls from streams. So, by
 * default, it tries a call again only where the application cannot have seen it. Once an endpoint has sent a message or
 * headers, it never does: Envoy knows a status only where it comes first (trailers-only, as servers send errors).
 */
function calls(settings: Settings, others: number): SharedRoute {
  const conditions = repeatedOn(settings)
  const isRepeated = settings.retryEnabled && others > 0 && conditions.length > 0
  const policy = isRepeated
    ? retryPolicy(settings, [retryOnUnsent, ...conditions].join(','), others)
    : unsentPolicy(settings)
  return sharedRoute(settings, isCall, policy)
}

/**
 * An owner who names a status in retry-on wants all calls tried again that are answered so; the other conditions are
 * HTTP's.
 */
function repeatedOn({ retryNonIdempotent, retryOn }: Settings): readonly string[] {
  const conditions = retryOn.split(',')
  return retryNonIdempotent ? conditions : conditions.filter(condition => grpcRetryConditions.includes(condition))
}
