/**
 * The routes of an http Service port: every request to its cluster, with retries by method. What must not happen twice
 * (POST, PATCH, CONNECT and methods we do not know) is tried again only where the request cannot have reached the
 * application.
 * https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/http/http_filters/router_filter#x-envoy-retry-on
 */

import type { MessageInitShape } from '@bufbuild/protobuf'
import type { Settings } from '../../services/settings.ts'
import {
  type RetryPolicySchema,
  RouteActionSchema,
  type RouteMatchSchema,
  RouteSchema,
  VirtualHostSchema,
} from '../api/envoy/config/route/v3/route_components_pb.js'
import { RouteConfigurationSchema } from '../api/envoy/config/route/v3/route_pb.js'
import { PreviousHostsPredicateSchema } from '../api/envoy/extensions/retry/host/previous_hosts/v3/previous_hosts_pb.js'
import { any, asField, duration, encode, merge, remembered } from '../encoding.ts'
import { hashesClients } from '../loadbalancing.ts'
import { leave } from './httpleave.ts'
import { addressCarrier } from './httpscopes.ts'
import { restoreUpgradeName, upgradeNameCarrier } from './httpupgrade.ts'

/** RFC 9110 section 9.2.2. */
const idempotentMethods = ['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE', 'TRACE']

/** Failures after which the application cannot have seen the request. */
const retryOnUnsent = 'connect-failure,refused-stream,reset-before-request'

/** Envoy's idea of the client, taken from an X-Forwarded-For that the client may have written. */
const spoofable = 'x-envoy-external-address'

/**
 * Choices until one falls on an endpoint that was not tried before; then it is used all the same (it may be the only one).
 * A dead endpoint has no requests, so LEAST_REQUEST takes it three times of four where there are two: 64 choices in a row
 * do not happen (5 fall on it for one retry in five).
 */
const anotherHostAttempts = 64n

type Match = MessageInitShape<typeof RouteMatchSchema>
type RetryPolicy = MessageInitShape<typeof RetryPolicySchema>

const connect: Match = { pathSpecifier: { case: 'connectMatcher', value: {} } }
const everything: Match = { pathSpecifier: { case: 'prefix', value: '/' } }

/** Matchers of a list must all hold, so "none of these methods" needs no regular expression. */
const notIdempotent: Match = {
  ...everything,
  headers: idempotentMethods.map(method => ({
    name: ':method',
    headerMatchSpecifier: { case: 'stringMatch', value: { matchPattern: { case: 'exact', value: method } } },
    invertMatch: true,
  })),
}

const headers = encode(RouteConfigurationSchema, {
  requestHeadersToRemove: [upgradeNameCarrier, addressCarrier, spoofable],
})
const stayingHost = encode(VirtualHostSchema, {
  name: 'all',
  domains: ['*'],
  includeRequestAttemptCount: true,
  requestHeadersToAdd: restoreUpgradeName,
})
const leavingHost = merge(stayingHost, encode(VirtualHostSchema, { typedPerFilterConfig: leave }))

/**
 * The encoded RouteConfiguration. Only its name and the cluster in its routes are not shared with other Service ports.
 * @param isLeaving whether connections are to end, each after its next answer
 */
export function routeConfiguration(name: string, id: string, settings: Settings, isLeaving: boolean): Uint8Array {
  const cluster = encode(RouteActionSchema, { clusterSpecifier: { case: 'cluster', value: id } })
  const routes = sharedRoutes(settings).map(({ match, action }) =>
    asField(VirtualHostSchema.field.routes, merge(match, asField(RouteSchema.field.route, merge(action, cluster)))),
  )
  return merge(
    encode(RouteConfigurationSchema, { name }),
    asField(RouteConfigurationSchema.field.virtualHosts, merge(isLeaving ? leavingHost : stayingHost, ...routes)),
    headers,
  )
}

/** The encoded RouteConfiguration of an address that no Service port has: each connection ends after an answer with 503. */
export function goneRouteConfiguration(name: string): Uint8Array {
  const route = {
    match: everything,
    action: { case: 'directResponse', value: { status: 503 } },
  } as const
  const virtualHosts = [{ name: 'gone', domains: ['*'], routes: [route], typedPerFilterConfig: leave }]
  return encode(RouteConfigurationSchema, { name, virtualHosts })
}

/** Parts of a Route, encoded. */
interface SharedRoute {
  readonly match: Uint8Array
  readonly action: Uint8Array
}

const sharedRoutes = remembered((settings: Settings): readonly SharedRoute[] => {
  const route = (match: Match, retryOn: string): SharedRoute => ({
    match: encode(RouteSchema, { match }),
    action: encode(RouteActionSchema, {
      // 0 is none; Envoy's default are 15 s.
      timeout: duration(settings.requestTimeout),
      retryPolicy: retryPolicy(settings, retryOn),
      hashPolicy: hashesClients(settings)
        ? [{ policySpecifier: { case: 'connectionProperties', value: { sourceIp: true } } }]
        : [],
    }),
  })
  const { retryOn, retryEnabled, retryNonIdempotent } = settings
  if (!retryEnabled || retryNonIdempotent) return [route(connect, retryOn), route(everything, retryOn)]
  return [route(connect, retryOnUnsent), route(notIdempotent, retryOnUnsent), route(everything, retryOn)]
})

/** A try's time-out is part of Envoy's retry policy, so there is one even where nothing is tried again. */
function retryPolicy(settings: Settings, retryOn: string): RetryPolicy {
  const perTryTimeout =
    settings.upstreamRequestTimeout === 0 ? {} : { perTryTimeout: duration(settings.upstreamRequestTimeout) }
  if (!settings.retryEnabled || settings.numRetries === 0) return { ...perTryTimeout, numRetries: 0 }
  return {
    ...perTryTimeout,
    retryOn,
    numRetries: settings.numRetries,
    retryHostPredicate: [notTriedBefore],
    hostSelectionRetryMaxAttempts: anotherHostAttempts,
    // The next try goes to another endpoint, which has done nothing to be waited for (default 25 ms to 250 ms).
    retryBackOff: { baseInterval: duration(5), maxInterval: duration(50) },
  }
}

const notTriedBefore = {
  name: 'envoy.retry_host_predicates.previous_hosts',
  configType: { case: 'typedConfig' as const, value: any(PreviousHostsPredicateSchema, {}) },
}
