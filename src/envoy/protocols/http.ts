/**
 * Serves HTTP/1 and HTTP/2: each request goes to an endpoint of its own, and is tried again where that is safe.
 *
 * Envoy speaks to an endpoint in the protocol that the client speaks, found out from its first bytes: HTTP/1.1 as a
 * rule, and HTTP/2 where the client starts with it (prior knowledge), since that client knew its server before
 * Lightpath came.
 *
 * Whatever an application could do behind kube-proxy passes, but for what Envoy 1.40 has no option for
 * (test/node/alike/differences.ts); authentication of a connection in place of a request (NTLM) has no connection of
 * its own. A port that needs one of these is set to `overlay: false`.
 * https://www.envoyproxy.io/docs/envoy/v1.40.0/api-v3/extensions/filters/network/http_connection_manager/v3/http_connection_manager.proto
 */

import type { MessageInitShape } from '@bufbuild/protobuf'
import { defaultSettings } from '../../services/settings/definitions.ts'
import type { Settings } from '../../services/settings/settings.ts'
import { fromAds } from '../ads.ts'
import type { Http1ProtocolOptionsSchema, Http2ProtocolOptionsSchema } from '../api/envoy/config/core/v3/protocol_pb.js'
import type { FilterSchema } from '../api/envoy/config/listener/v3/listener_components_pb.js'
import { RouterSchema } from '../api/envoy/extensions/filters/http/router/v3/router_pb.js'
import {
  HttpConnectionManager_PathWithEscapedSlashesAction as EscapedSlashes,
  HttpConnectionManager_ForwardClientCertDetails,
  HttpConnectionManager_ServerHeaderTransformation,
  HttpConnectionManagerSchema,
} from '../api/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.js'
import {
  PreserveCaseFormatterConfig_FormatterTypeOnEnvoyHeaders as CaseOfEnvoy,
  PreserveCaseFormatterConfigSchema,
} from '../api/envoy/extensions/http/header_formatters/preserve_case/v3/preserve_case_pb.js'
import { HttpProtocolOptionsSchema } from '../api/envoy/extensions/upstreams/http/v3/http_protocol_options_pb.js'
import { any, duration, encode, encodedAny, memoize, merge } from '../encoding.ts'
import { askingKeepalive } from '../resources/connection.ts'
import { idleAfter } from '../resources/idle.ts'
import { latencyLog } from '../resources/latencylog.ts'
import { httpLogs } from '../resources/observations.ts'
import { earlyHeaders } from './earlyheaders.ts'
import { mayLeave } from './httpdrain.ts'
import { keepProto } from './httpforwarded.ts'
import { mayBeFresh } from './httpfresh.ts'
import { halfCloseFilters } from './httphalfclose.ts'
import { httpRoutes, routeConfigurations } from './httproutes.ts'
import { scopedRouteConfiguration, scopedRoutes, writeAddress } from './httpscopes.ts'
import { hideUpgradeName, upgradeConfigs } from './httpupgrade.ts'
import type { FilteredPort, FilterNode, Protocol } from './protocol.ts'

/** How long a connection may be idle between requests, where idle-timeout is not set. */
const defaultIdleTimeout = 300e3

export const http: Protocol = {
  networkFilters: port => {
    const halfClose = halfCloseFilters(port.settings, port.node)
    return [...halfClose.network, networkFilter(connectionManager(port.settings), ownManager(port, halfClose.http))]
  },
  isDetected: true,
  shared: {
    fits: ({ idleTimeout, accessLog, halfClose, firstBytesTimeout }) =>
      idleTimeout === undefined &&
      accessLog === defaultSettings.accessLog &&
      halfClose === 'auto' &&
      firstBytesTimeout === undefined,
    networkFilters: node => {
      const halfClose = halfCloseFilters(defaultSettings, node)
      return [
        ...halfClose.network,
        networkFilter(connectionManager(defaultSettings), commonManager(node, halfClose.http)),
      ]
    },
    scope: scopedRouteConfiguration,
    idleTimeout: defaultIdleTimeout,
  },
  routes: routeConfigurations(httpRoutes),
  clusterOptions: settings => ({
    'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': upstreamOptions(settings),
  }),
  upstreamKeepalive: askingKeepalive,
}

/**
 * Of a request or an answer. Envoy looks at all of them in one go, 6 ms for a MiB, and whoever has the same worker waits
 * for it. So this is not the largest limit that a server has (Go's is 1 MiB, hyper's 408 KiB), but eight times those of
 * most: nginx and Kestrel take 32 KiB, Node.js 16, Apache and Tomcat 8.
 */
const maxHeadersKb = 256
const maxHeaders = 10000

/**
 * Headers may take as long as a connection may be idle. Nobody who wants an answer sends headers more slowly, and each
 * such request holds up to 256 KiB; servers give up after a minute (nginx, Node.js) if they do at all (Go).
 */
const headersTimeout = defaultIdleTimeout

/** The part of a connection manager that its settings decide. */
const connectionManager = memoize((settings: Settings) => {
  const { idleTimeout, drainTimeout } = idleAfter(settings.idleTimeout ?? defaultIdleTimeout)
  return encode(HttpConnectionManagerSchema, {
    statPrefix: 'http',
    commonHttpProtocolOptions: { idleTimeout, maxHeadersCount: maxHeaders },
    drainTimeout,
    // HTTP/1.0 without Host becomes HTTP/1.1 to the endpoint, which needs one; a Service port's own name cannot stand
    // here.
    httpProtocolOptions: { ...http1, acceptHttp10: true, defaultHostForHttp10: 'localhost' },
    http2ProtocolOptions: http2,
    maxRequestHeadersKb: maxHeadersKb,
    requestHeadersTimeout: duration(headersTimeout),
    // Only its own end ends a request or stream (default 5 minutes without bytes).
    streamIdleTimeout: duration(0),
    // A connection is closed once everything is written, however long a slow reader takes. (By default Envoy drops what
    // a client has not taken within 1 s, and leaves an idle connection half dead for as long.)
    delayedCloseTimeout: duration(0),
    accessLog: httpLogs(settings.accessLog),
    // What proxies before us wrote goes on as it came (httpforwarded.ts). No client counts as internal, since it could
    // write headers that command Envoy: with trusted hops Envoy takes no address in X-Forwarded-For for that.
    useRemoteAddress: false,
    xffNumTrustedHops: 1,
    forwardClientCertDetails: HttpConnectionManager_ForwardClientCertDetails.ALWAYS_FORWARD_ONLY,
    preserveExternalRequestId: true,
    serverHeaderTransformation: HttpConnectionManager_ServerHeaderTransformation.PASS_THROUGH,
    proxy100Continue: true,
    upgradeConfigs,
    // The path reaches the endpoint byte by byte.
    normalizePath: false,
    mergeSlashes: false,
    pathWithEscapedSlashesAction: EscapedSlashes.KEEP_UNCHANGED,
  })
})

/** @param latencies see `BalancingNode` */
function router(latencies: string | undefined) {
  const upstreamLog = latencies === undefined ? [] : [latencyLog(latencies)]
  return {
    name: 'envoy.filters.http.router',
    configType: { case: 'typedConfig' as const, value: any(RouterSchema, { upstreamLog }) },
  }
}

type HttpFilters = ReturnType<typeof halfCloseFilters>['http']

/** The part of a connection manager for a Service port with a listener of its own. */
function ownManager({ name, node }: FilteredPort, first: HttpFilters): Uint8Array {
  return encode(HttpConnectionManagerSchema, {
    httpFilters: [...first, mayBeFresh, router(node.latencies)],
    earlyHeaderMutationExtensions: [earlyHeaders(...hideUpgradeName, keepProto)],
    routeSpecifier: { case: 'rds', value: { routeConfigName: name, configSource: fromAds } },
  })
}

/** The part for all Service ports that share a listener. It has the default settings. */
const commonManager = ({ latencies }: FilterNode, first: HttpFilters) =>
  encode(HttpConnectionManagerSchema, {
    httpFilters: [...first, mayLeave, mayBeFresh, router(latencies)],
    routeSpecifier: { case: 'scopedRoutes', value: scopedRoutes },
    earlyHeaderMutationExtensions: [earlyHeaders(...hideUpgradeName, keepProto, writeAddress)],
    // A Service port that Envoy does not know answers as if it had no endpoint (default 404).
    localReplyConfig: {
      mappers: [
        {
          filter: { filterSpecifier: { case: 'responseFlagFilter', value: { flags: ['NR'] } } },
          statusCode: 503,
        },
      ],
    },
  })

function networkFilter(...parts: readonly Uint8Array[]): MessageInitShape<typeof FilterSchema> {
  return {
    name: 'envoy.filters.network.http_connection_manager',
    configType: { case: 'typedConfig', value: encodedAny(HttpConnectionManagerSchema, merge(...parts)) },
  }
}

const http1: MessageInitShape<typeof Http1ProtocolOptionsSchema> = {
  // Names keep their case and reason phrases their words; Envoy writes names that it adds as `X-Request-Id`.
  headerKeyFormat: {
    headerFormat: {
      case: 'statefulFormatter',
      value: {
        name: 'envoy.http.stateful_header_formatters.preserve_case',
        typedConfig: any(PreserveCaseFormatterConfigSchema, {
          forwardReasonPhrase: true,
          formatterTypeOnEnvoyHeaders: CaseOfEnvoy.PROPER_CASE,
        }),
      },
    },
  },
  enableTrailers: true,
  // With Content-Length beside chunked, Envoy takes chunked and drops the length, as RFC 9112 section 6.3 has it.
  allowChunkedLength: true,
  allowCustomMethods: true,
  // Servers that do not take up this offer answer as if it were not there, and so the connection goes on.
  ignoreHttp11Upgrade: [{ matchPattern: { case: 'prefix', value: 'TLS/' }, ignoreCase: true }],
  // A request that Envoy refuses does not end the other requests of the connection.
  overrideStreamErrorOnInvalidHttpMessage: true,
}

/**
 * Some applications do all the time what Envoy takes for an attack; bootstrap/overload.ts limits the memory that is
 * held. No option lifts nghttp2's own limit of 1,000 requests cancelled at once and 33 a second more.
 */
const manyFrames = 1e9

const http2: MessageInitShape<typeof Http2ProtocolOptionsSchema> = {
  // Extended CONNECT (RFC 8441): WebSocket over HTTP/2.
  allowConnect: true,
  overrideStreamErrorOnInvalidHttpMessage: true,
  maxConcurrentStreams: 2 ** 31 - 1,
  maxInboundPriorityFramesPerStream: manyFrames,
  maxInboundWindowUpdateFramesPerDataFrameSent: manyFrames,
  maxConsecutiveInboundFramesWithEmptyPayload: manyFrames,
}

const upstreamOptions = (settings: Settings) =>
  any(HttpProtocolOptionsSchema, {
    commonHttpProtocolOptions: {
      idleTimeout: duration(settings.upstreamIdleTimeout),
      maxHeadersCount: maxHeaders,
      maxResponseHeadersKb: maxHeadersKb,
    },
    upstreamProtocolOptions: {
      case: 'useDownstreamProtocolConfig',
      value: { httpProtocolOptions: http1, http2ProtocolOptions: http2 },
    },
  })
