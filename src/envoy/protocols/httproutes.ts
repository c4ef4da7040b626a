/**
 * Makes the routes of an http Service port: every request goes to its cluster. What may be repeated (a safe method
 * without a condition, where there is another endpoint) is tried again there when it fails, and takes an open
 * connection. Everything else happens once: it is tried again only where it cannot have reached the application, and
 * goes on a connection of its own, since an endpoint may be closing one that is open (httpfresh.ts).
 * https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/http/http_filters/router_filter#x-envoy-retry-on
 */

import type { MessageInitShape } from '@bufbuild/protobuf'
import type { Settings } from '../../services/settings/settings.ts'
import {
  type RetryPolicySchema,
  RouteActionSchema,
  type RouteMatchSchema,
  RouteSchema,
  VirtualHostSchema,
} from '../api/envoy/config/route/v3/route_components_pb.js'
import { RouteConfigurationSchema } from '../api/envoy/config/route/v3/route_pb.js'
import { PreviousHostsPredicateSchema } from '../api/envoy/extensions/retry/host/previous_hosts/v3/previous_hosts_pb.js'
import { any, asField, duration, encode, memoize, merge } from '../encoding.ts'
import { hashesClients } from '../resources/cluster/loadbalancing.ts'
import { leave } from './httpdrain.ts'
import { asItCame, protoCarrier, withClient } from './httpforwarded.ts'
import { onClientsConnection, onceOn, onFreshConnection, type RouteParts } from './httpfresh.ts'
import { addressCarrier } from './httpscopes.ts'
import {
  bodyBesideUpgrade,
  bodyCarrier,
  framingCarrier,
  restoreUpgradeName,
  upgradeNameCarrier,
} from './httpupgrade.ts'
import type { Protocol, Routing } from './protocol.ts'

/** Failures after which the application cannot have seen the request. */
export const retryOnUnsent = 'connect-failure,refused-stream,reset-before-request'

/**
 * Tries of requests that cannot have reached the application, at any endpoint. Together they last longer than Linux
 * waits before it asks a second and a third time for a connection, so that an only endpoint with a full queue is as
 * good as behind kube-proxy.
 */
const unsentRetries = 8

/**
 * How often Envoy chooses until it finds an endpoint that was not tried before; then it uses the last one all the same
 * (it may be the only one). A dead endpoint has no requests, so LEAST_REQUEST takes it three times of four where there
 * are two: 64 choices in a row do not happen (5 fall on it for one retry in five).
 */
const anotherHostAttempts = 64n

type Match = MessageInitShape<typeof RouteMatchSchema>
type RetryPolicy = MessageInitShape<typeof RetryPolicySchema>

const connect: Match = { pathSpecifier: { case: 'connectMatcher', value: {} } }
export const everything = { pathSpecifier: { case: 'prefix', value: '/' } } as const satisfies Match

/** RFC 9110 section 9.2.1. */
const safeMethods = 'GET|HEAD|OPTIONS'
/** Section 9.2.2. */
const idempotentMethods = `${safeMethods}|PUT|DELETE|TRACE`
/** Section 13.1: the first try may have changed what the answer depends on. */
const conditions = ['if-match', 'if-none-match', 'if-modified-since', 'if-unmodified-since', 'if-range']

const ofMethods = (regex: string) =>
  ({
    name: ':method',
    headerMatchSpecifier: {
      case: 'stringMatch',
      value: { matchPattern: { case: 'safeRegex', value: { regex } } },
    },
  }) as const

const without = (name: string) =>
  ({ name, headerMatchSpecifier: { case: 'presentMatch', value: true }, invertMatch: true }) as const

/** Matches requests that may be repeated. */
function repeatable({ retryIdempotent, retryNonIdempotent }: Settings): Match {
  if (retryNonIdempotent) return everything
  if (retryIdempotent) return { ...everything, headers: [ofMethods(idempotentMethods)] }
  return { ...everything, headers: [ofMethods(safeMethods), ...conditions.map(without)] }
}

const headers = encode(RouteConfigurationSchema, {
  requestHeadersToRemove: [upgradeNameCarrier, framingCarrier, bodyCarrier, addressCarrier, protoCarrier],
})

function host(isDraining: boolean, addsForwarded: boolean): Uint8Array {
  const { requestHeadersToAdd = [], requestHeadersToRemove } = addsForwarded ? withClient : asItCame
  return encode(VirtualHostSchema, {
    name: 'all',
    domains: ['*'],
    includeRequestAttemptCount: true,
    requestHeadersToAdd: [...restoreUpgradeName, ...requestHeadersToAdd],
    requestHeadersToRemove,
    typedPerFilterConfig: isDraining ? leave : {},
  })
}

const yesAndNo = [false, true] as const
/** By isDraining and addsForwarded. */
const hosts = yesAndNo.map(isDraining => yesAndNo.map(addsForwarded => host(isDraining, addsForwarded)))

/** The routes that Service ports with these settings have in common; the first that matches counts. */
type RoutesOf = (settings: Settings, of: Endpoints) => readonly SharedRoute[]
type Endpoints = Pick<Routing, 'others' | 'once'>

/**
 * Makes encoded RouteConfigurations. A Service port shares all of it with others but name, cluster and namespace, after
 * which each route is called: so the module knows whose endpoint it learns of (native/latency/watch.c).
 */
export function routeConfigurations(routesOf: RoutesOf): NonNullable<Protocol['routes']> {
  const shared = memoize((settings: Settings) => {
    const made = new Map<string, readonly SharedRoute[]>()
    return (of: Endpoints) => {
      const key = `${of.others} ${of.once}`
      const routes = made.get(key) ?? routesOf(settings, of)
      made.set(key, routes)
      return routes
    }
  })
  return (name, to, settings, { isDraining, addsForwarded, namespace, ...of }) => {
    const cluster = asField(RouteActionSchema.field.cluster, to)
    const owner = asField(RouteSchema.field.name, namespace)
    const routes = shared(settings)(of).map(({ route, action }) => {
      const toCluster = asField(RouteSchema.field.route, merge(action, cluster))
      return asField(VirtualHostSchema.field.routes, merge(owner, route, toCluster))
    })
    const virtualHost = hosts[Number(isDraining)]![Number(addsForwarded)]!
    return merge(
      asField(RouteConfigurationSchema.field.name, name),
      asField(RouteConfigurationSchema.field.virtualHosts, merge(virtualHost, ...routes)),
      headers,
    )
  }
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
export interface SharedRoute {
  /** Everything but the action. */
  readonly route: Uint8Array
  readonly action: Uint8Array
}

/** A route of requests that match, to whatever cluster. */
export function sharedRoute(
  settings: Settings,
  match: Match,
  retryPolicy: RetryPolicy,
  more: RouteParts = {},
): SharedRoute {
  return {
    route: encode(RouteSchema, { match, ...more }),
    action: encode(RouteActionSchema, {
      // 0 means none; Envoy's default is 15 s.
      timeout: duration(settings.requestTimeout),
      retryPolicy,
      hashPolicy: hashesClients(settings)
        ? [{ policySpecifier: { case: 'connectionProperties', value: { sourceIp: true } } }]
        : [],
    }),
  }
}

export function httpRoutes(settings: Settings, { others, once: connections }: Endpoints): readonly SharedRoute[] {
  const route = (match: Match, policy: RetryPolicy, more: RouteParts) => sharedRoute(settings, match, policy, more)
  const { reuseConnections, retryEnabled, retryOn } = settings
  const unsent = unsentPolicy(settings)
  const isRepeated = retryEnabled && others > 0
  const repeatedPolicy = isRepeated ? retryPolicy(settings, retryOn, others) : unsent
  const once = { safe: onceOn[connections], always: {}, never: onFreshConnection }
  const repeated = { safe: isRepeated ? {} : onClientsConnection, always: {}, never: onFreshConnection }
  return [
    route(connect, unsent, {}),
    route({ ...everything, headers: bodyBesideUpgrade.headers }, unsent, {
      requestHeadersToAdd: bodyBesideUpgrade.restore,
    }),
    route(repeatable(settings), repeatedPolicy, repeated[reuseConnections]),
    route(everything, unsent, once[reuseConnections]),
  ]
}

/** The retry policy of requests that must happen once. */
export function unsentPolicy(settings: Settings): RetryPolicy {
  const { numRetries } = settings
  return retryPolicy(settings, retryOnUnsent, numRetries === 0 ? 0 : Math.max(numRetries, unsentRetries))
}

/** A try's time-out is part of Envoy's retry policy, so there is one even where nothing is tried again. */
export function retryPolicy(settings: Settings, retryOn: string, numRetries: number): RetryPolicy {
  const perTryTimeout =
    settings.upstreamRequestTimeout === 0 ? {} : { perTryTimeout: duration(settings.upstreamRequestTimeout) }
  if (!settings.retryEnabled || numRetries === 0) return { ...perTryTimeout, numRetries: 0 }
  return {
    ...perTryTimeout,
    retryOn,
    numRetries,
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
