/**
 * On a listener that Service ports share, connections to a port that leaves Envoy, or that Envoy does not know, are ended
 * after the answer to their request (`Connection: close`, GOAWAY), so that clients connect again and the kernel layer
 * takes them. The filter does that for every request whose routes do not disable it.
 * https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/http/http_filters/lua_filter#drainconnectionuponcompletion
 */

import type { MessageInitShape } from '@bufbuild/protobuf'
import type { Any } from '@bufbuild/protobuf/wkt'
import { FilterConfigSchema } from '../api/envoy/config/route/v3/route_components_pb.js'
import { LuaSchema } from '../api/envoy/extensions/filters/http/lua/v3/lua_pb.js'
import type { HttpFilterSchema } from '../api/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.js'
import { any } from '../encoding.ts'

const name = 'lightpath.leave'

const script = 'function envoy_on_request(request) request:streamInfo():drainConnectionUponCompletion() end'

export const leave: MessageInitShape<typeof HttpFilterSchema> = {
  name,
  configType: {
    case: 'typedConfig',
    value: any(LuaSchema, { defaultSourceCode: { specifier: { case: 'inlineString', value: script } } }),
  },
}

/** For the virtual host of a Service port that stays; listeners without the filter take no notice. */
export const stay: Readonly<Record<string, Any>> = { [name]: any(FilterConfigSchema, { disabled: true }) }
