/**
 * Gives one request a connection to the endpoint of its own. An endpoint may close an idle connection at any moment,
 * and a request that meets the end gets no answer, whether the application has seen it or not. A request that must not
 * be repeated goes where that cannot be: as behind kube-proxy, where the client knows what it may send on an old
 * connection.
 *
 * Envoy chooses a connection by what a request has in its filter state for the endpoint's side, here something that no
 * other request has: its time and its client's connection (X-Request-Id is what the client makes it). HTTP/2 tells which
 * requests it has not seen (GOAWAY), so its connections are kept.
 * https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/http/http_filters/set_filter_state
 */

import type { MessageInitShape } from '@bufbuild/protobuf'
import { HeaderValueOption_HeaderAppendAction as Append } from '../api/envoy/config/core/v3/base_pb.js'
import type { RouteSchema } from '../api/envoy/config/route/v3/route_components_pb.js'
import {
  type FilterStateValueSchema,
  FilterStateValue_SharedWithUpstream as Shared,
} from '../api/envoy/extensions/filters/common/set_filter_state/v3/value_pb.js'
import { ConfigSchema } from '../api/envoy/extensions/filters/http/set_filter_state/v3/set_filter_state_pb.js'
import type { HttpFilterSchema } from '../api/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.js'
import { any } from '../encoding.ts'

type FilterStateValue = MessageInitShape<typeof FilterStateValueSchema>

const name = 'lightpath.fresh'

/** Of no request but those of routes that have its part: each filter takes 2 µs of a request. */
export const mayBeFresh: MessageInitShape<typeof HttpFilterSchema> = {
  name,
  disabled: true,
  configType: { case: 'typedConfig', value: any(ConfigSchema, {}) },
}

/** The value for HTTP/1, and nothing for HTTP/2. */
const unlessHttp2 = (value: string) => `%CEL(request.protocol == "HTTP/2" ? "" : ${value})%`

/** The parts of a route that do not depend on its cluster. */
export type RouteParts = Pick<MessageInitShape<typeof RouteSchema>, 'typedPerFilterConfig' | 'requestHeadersToAdd'>

const format = (value: string) =>
  ({
    case: 'formatString',
    value: { format: { case: 'textFormatSource', value: { specifier: { case: 'inlineString', value } } } },
  }) as const

/** @param value what requests have in common that share connections; '' for all */
const sharedBy = (value: string): FilterStateValue => ({
  key: { case: 'objectKey', value: name },
  factoryKey: 'envoy.hashable_string',
  value: format(value),
  sharedWithUpstream: Shared.ONCE,
  skipIfEmpty: true,
})

/** How old the client's connection is, in milliseconds. */
const age = {
  key: { case: 'objectKey', value: 'lightpath.age' },
  factoryKey: 'envoy.string',
  value: format('%COMMON_DURATION(DS_CX_BEG:DS_RX_BEG:ms)%'),
} as const satisfies FilterStateValue

const withState = (...onRequestHeaders: readonly FilterStateValue[]) => ({
  [name]: any(ConfigSchema, { onRequestHeaders: [...onRequestHeaders] }),
})

/**
 * The endpoint ends the connection after its answer. An offer to upgrade already has the header, for a connection that
 * ends with it.
 *
 * @param value `"close"`, or `""` where it is to stay open
 */
const ends = (value: string): RouteParts['requestHeadersToAdd'] => [
  { header: { key: 'connection', value: unlessHttp2(value) }, appendAction: Append.ADD_IF_ABSENT },
]

/** A client's connection has one request at a time. */
const ownConnection = sharedBy(unlessHttp2('request.time') + unlessHttp2('connection.id'))

export const onFreshConnection: RouteParts = {
  typedPerFilterConfig: withState(ownConnection),
  requestHeadersToAdd: ends('"close"'),
}

/** A client keeps its connection that has one for a second. Others know of no old connection that could have ended. */
const isKept = 'size(filter_state["lightpath.age"]) > 3'
const now = 'request.time.getMilliseconds()'

/** As onFreshConnection; but some connections stay open, which shows whether their endpoint lets them. */
const onWatchedConnection: RouteParts = {
  typedPerFilterConfig: withState(age, ownConnection),
  requestHeadersToAdd: ends(`${isKept} && ${now} < 10 ? "" : "close"`),
}

/**
 * Clients that keep their connections share one within each half second, which never comes again: so none was idle for
 * longer, whatever its time-out. In the last moments connections are to end, since they could keep a server's threads
 * from those of the next.
 */
const onLastingConnection: RouteParts = {
  typedPerFilterConfig: withState(
    age,
    sharedBy(
      unlessHttp2(`${isKept} ? int(request.time) * 2 + ${now} / 500 : request.time`) +
        unlessHttp2(`${isKept} ? "" : connection.id`),
    ),
  ),
  requestHeadersToAdd: ends(`${isKept} && ${now} - ${now} / 500 * 500 < 450 ? "" : "close"`),
}

/** Which connections are for what must happen once. */
export type Connections = 'fresh' | 'watched' | 'lasting'

export const onceOn: Readonly<Record<Connections, RouteParts>> = {
  fresh: onFreshConnection,
  watched: onWatchedConnection,
  lasting: onLastingConnection,
}

/**
 * For requests that might be repeated, where there is no other endpoint: only requests of one client connection share
 * one, as behind kube-proxy. A connection for each request took Envoy 2.8 times the CPU.
 */
export const onClientsConnection: RouteParts = { typedPerFilterConfig: withState(sharedBy('%CONNECTION_ID%')) }
