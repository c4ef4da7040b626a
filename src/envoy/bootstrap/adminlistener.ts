/**
 * Shows Envoy's admin pages on a port of loopback, for people: `curl localhost:15000/config_dump`, also by `kubectl
 * port-forward`. Anybody on the node's network reaches it, so it lets through what changes nothing: GET of the pages
 * below. What changes something (`/quitquitquit`, `/logging`, `/healthcheck/fail`) is answered on the admin socket
 * alone.
 * https://www.envoyproxy.io/docs/envoy/v1.40.0/operations/admin
 */

import type { MessageInitShape } from '@bufbuild/protobuf'
import { pipeAddress, socketAddress } from '../address.ts'
import type { RuntimeLayerSchema } from '../api/envoy/config/bootstrap/v3/bootstrap_pb.js'
import { Cluster_DiscoveryType, type ClusterSchema } from '../api/envoy/config/cluster/v3/cluster_pb.js'
import type { ListenerSchema } from '../api/envoy/config/listener/v3/listener_pb.js'
import type { RouteSchema } from '../api/envoy/config/route/v3/route_components_pb.js'
import { LocalRateLimitSchema } from '../api/envoy/extensions/filters/http/local_ratelimit/v3/local_rate_limit_pb.js'
import { RouterSchema } from '../api/envoy/extensions/filters/http/router/v3/router_pb.js'
import {
  HttpConnectionManager_CodecType,
  HttpConnectionManagerSchema,
} from '../api/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.js'
import { FractionalPercent_DenominatorType } from '../api/envoy/type/v3/percent_pb.js'
import { any, duration } from '../encoding.ts'
import { idleAfter } from '../resources/idle.ts'

export interface AdminListenerOptions {
  /** The port on 127.0.0.1; 0 lets the kernel choose. */
  readonly port: number
  /** The socket of the admin interface itself. */
  readonly socket: string
}

const clusterName = 'admin'

/**
 * Pages that change nothing, with any query. `/` is the list of pages; its buttons are refused. Envoy rejects a regular
 * expression that compiles to more than 100 instructions: a few more names need a second route.
 */
const pages = [
  '',
  'certs',
  'clusters',
  'config_dump',
  'help',
  'listeners',
  'memory',
  'ready',
  'runtime',
  'server_info',
  'stats',
  'stats/prometheus',
] as const

/** The admin interface answers one after another on Envoy's main thread: so many may wait for it. */
const maxWaiting = 16
const answerMs = 60_000
/** These connections count among all that Envoy may have, and anybody on the node can hold some. */
const maxConnections = 32
const idleMs = 30_000
/**
 * How many pages are answered at once, and the time after which there is one more. With 10,000 Services, /config_dump
 * takes the main thread the better part of a second, in which no change takes effect. This is enough for people, and
 * for a scraper.
 */
const burst = { pages: 30, oneMoreMs: 2000 }
const rateFilter = 'envoy.filters.http.local_ratelimit'

const listenerName = 'admin'

export const adminRuntimeLayer: MessageInitShape<typeof RuntimeLayerSchema> = {
  name: 'lightpath',
  layerSpecifier: {
    case: 'staticLayer',
    value: { [`envoy.resource_limits.listener.${listenerName}.connection_limit`]: maxConnections },
  },
}

export function adminCluster({ socket }: AdminListenerOptions): MessageInitShape<typeof ClusterSchema> {
  const endpoint = { hostIdentifier: { case: 'endpoint', value: { address: pipeAddress(socket) } } } as const
  return {
    name: clusterName,
    clusterDiscoveryType: { case: 'type', value: Cluster_DiscoveryType.STATIC },
    connectTimeout: duration(1000),
    loadAssignment: { clusterName, endpoints: [{ lbEndpoints: [endpoint] }] },
    circuitBreakers: { thresholds: [{ maxConnections: 1, maxPendingRequests: maxWaiting, maxRequests: 1 }] },
    // This socket has no mark and no ports: they are for TCP (bootstrap.ts).
    upstreamBindConfig: {},
  }
}

export function adminListener({ port }: AdminListenerOptions): MessageInitShape<typeof ListenerSchema> {
  const { idleTimeout, drainTimeout } = idleAfter(idleMs)
  const manager = any(HttpConnectionManagerSchema, {
    codecType: HttpConnectionManager_CodecType.HTTP1,
    statPrefix: 'admin',
    commonHttpProtocolOptions: { idleTimeout },
    drainTimeout,
    requestHeadersTimeout: duration(idleMs),
    httpFilters: [
      {
        name: rateFilter,
        configType: { case: 'typedConfig', value: any(LocalRateLimitSchema, { statPrefix: clusterName }) },
      },
      { name: 'envoy.filters.http.router', configType: { case: 'typedConfig', value: any(RouterSchema, {}) } },
    ],
    routeSpecifier: {
      case: 'routeConfig',
      value: { name: 'admin', virtualHosts: [{ name: 'admin', domains: ['*'], routes: [reading, refusal] }] },
    },
  })
  return {
    name: listenerName,
    address: socketAddress('127.0.0.1', port),
    filterChains: [
      {
        name: 'admin',
        filters: [
          {
            name: 'envoy.filters.network.http_connection_manager',
            configType: { case: 'typedConfig', value: manager },
          },
        ],
      },
    ],
  }
}

const always = { defaultValue: { numerator: 100, denominator: FractionalPercent_DenominatorType.HUNDRED } }

/** https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/http/http_filters/local_rate_limit_filter */
const rate = any(LocalRateLimitSchema, {
  statPrefix: clusterName,
  tokenBucket: { maxTokens: burst.pages, fillInterval: duration(burst.oneMoreMs) },
  filterEnabled: always,
  filterEnforced: always,
  enableRetryAfterHeader: true,
})

const reading: MessageInitShape<typeof RouteSchema> = {
  match: {
    pathSpecifier: { case: 'safeRegex', value: { regex: `/(${pages.join('|')})` } },
    headers: [
      {
        name: ':method',
        headerMatchSpecifier: { case: 'stringMatch', value: { matchPattern: { case: 'exact', value: 'GET' } } },
      },
    ],
  },
  action: {
    case: 'route',
    value: { clusterSpecifier: { case: 'cluster', value: clusterName }, timeout: duration(answerMs) },
  },
  typedPerFilterConfig: { [rateFilter]: rate },
}

const words = `Only GET of what changes nothing is answered here: ${pages.map(page => `/${page}`).join(' ')}\n`

const refusal: MessageInitShape<typeof RouteSchema> = {
  match: { pathSpecifier: { case: 'prefix', value: '/' } },
  action: {
    case: 'directResponse',
    value: { status: 403, body: { specifier: { case: 'inlineString', value: words } } },
  },
}
