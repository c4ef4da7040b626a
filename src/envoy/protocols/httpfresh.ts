/**
 * Gives one request a connection to the endpoint of its own. An endpoint may close an idle connection at any moment,
 * and a request that meets the end gets no answer, whether the application has seen it or not. A request that must not
 * be repeated goes where that cannot be: as behind kube-proxy, where the client knows what it may send on an old
 * connection.
 *
 * Envoy chooses a connection by what a request has in its filter state for the endpoint's side, here something that no
 * other request has. HTTP/2 tells which requests it has not seen (GOAWAY), so its connections are kept.
 * https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/http/http_filters/set_filter_state
 */

import type { MessageInitShape } from '@bufbuild/protobuf'
import { HeaderValueOption_HeaderAppendAction as Append } from '../api/envoy/config/core/v3/base_pb.js'
import type { RouteSchema } from '../api/envoy/config/route/v3/route_components_pb.js'
import { FilterStateValue_SharedWithUpstream as Shared } from '../api/envoy/extensions/filters/common/set_filter_state/v3/value_pb.js'
import { ConfigSchema } from '../api/envoy/extensions/filters/http/set_filter_state/v3/set_filter_state_pb.js'
import type { HttpFilterSchema } from '../api/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.js'
import { any } from '../encoding.ts'

const name = 'lightpath.fresh'

/** Does nothing unless the route says so. */
export const mayBeFresh: MessageInitShape<typeof HttpFilterSchema> = {
  name,
  configType: { case: 'typedConfig', value: any(ConfigSchema, {}) },
}

/** The value for HTTP/1, and nothing for HTTP/2. */
const unlessHttp2 = (value: string) => `%CEL(request.protocol == "HTTP/2" ? "" : ${value})%`

/** The parts of a route that do not depend on its cluster. */
export type RouteParts = Pick<MessageInitShape<typeof RouteSchema>, 'typedPerFilterConfig' | 'requestHeadersToAdd'>

/** @param value what requests have in common that share connections; '' for all */
const sharedBy = (value: string): RouteParts['typedPerFilterConfig'] => ({
  [name]: any(ConfigSchema, {
    onRequestHeaders: [
      {
        key: { case: 'objectKey', value: name },
        factoryKey: 'envoy.hashable_string',
        value: {
          case: 'formatString',
          value: { format: { case: 'textFormatSource', value: { specifier: { case: 'inlineString', value } } } },
        },
        sharedWithUpstream: Shared.ONCE,
        skipIfEmpty: true,
      },
    ],
  }),
})

export const onFreshConnection: RouteParts = {
  typedPerFilterConfig: sharedBy(unlessHttp2('request.id')),
  // The endpoint ends the connection after its answer. An offer to upgrade already has the header, for a connection
  // that ends with it.
  requestHeadersToAdd: [
    { header: { key: 'connection', value: unlessHttp2('"close"') }, appendAction: Append.ADD_IF_ABSENT },
  ],
}

/**
 * For requests that might be repeated, where there is no other endpoint: only requests of one client connection share
 * one, as behind kube-proxy. A connection for each request took Envoy 2.8 times the CPU.
 */
export const onClientsConnection: RouteParts = { typedPerFilterConfig: sharedBy('%CONNECTION_ID%') }
