/**
 * On a shared listener, ends connections to a demoted port after the answer to their request (`Connection: close`,
 * GOAWAY), so that clients connect again and the kernel layer takes them.
 * https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/http/http_filters/lua_filter#drainconnectionuponcompletion
 *
 * Nothing else in Envoy 1.40 ends a connection by route: it strips `Connection` from an answer, whoever has put it
 * there. A Lua machine takes 0.26 MB with two workers. So the listener's filter has no script, and no machine; the
 * routes of a closing port bring theirs, and few ports close at a time (node/lifecycle/drains.ts).
 */

import type { MessageInitShape } from '@bufbuild/protobuf'
import type { Any } from '@bufbuild/protobuf/wkt'
import { LuaPerRouteSchema, LuaSchema } from '../api/envoy/extensions/filters/http/lua/v3/lua_pb.js'
import type { HttpFilterSchema } from '../api/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.js'
import { any } from '../encoding.ts'

const name = 'lightpath.leave'

const inlineString = 'function envoy_on_request(request) request:streamInfo():drainConnectionUponCompletion() end'

/** Of no request but those of routes that have its part: each filter takes 2 µs of a request. */
export const mayLeave: MessageInitShape<typeof HttpFilterSchema> = {
  name,
  disabled: true,
  configType: { case: 'typedConfig', value: any(LuaSchema, {}) },
}

/** The filter's part in the virtual host of a closing Service port. Listeners without the filter ignore it. */
export const leave: Readonly<Record<string, Any>> = {
  [name]: any(LuaPerRouteSchema, {
    override: { case: 'sourceCode', value: { specifier: { case: 'inlineString', value: inlineString } } },
  }),
}
