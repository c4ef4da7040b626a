/**
 * The filters by which a client's FIN waits for the answers (native/halfclose.c): one of the connection, before its connection
 * manager, and one of its requests, the first of them. An Envoy that does not find the module refuses the listener.
 *
 * Nothing looks at first bytes where these are: a listener filter that waits for bytes has Envoy 1.40 reset a connection whose FIN
 * comes right behind them, before any filter of the connection is asked.
 * https://www.envoyproxy.io/docs/envoy/v1.40.0/intro/arch_overview/advanced/dynamic_modules
 */

import type { MessageInitShape } from '@bufbuild/protobuf'
import type { FilterSchema } from '../api/envoy/config/listener/v3/listener_components_pb.js'
import { DynamicModuleFilterSchema } from '../api/envoy/extensions/filters/http/dynamic_modules/v3/dynamic_modules_pb.js'
import { DynamicModuleNetworkFilterSchema } from '../api/envoy/extensions/filters/network/dynamic_modules/v3/dynamic_modules_pb.js'
import type { HttpFilterSchema } from '../api/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.js'
import { any } from '../encoding.ts'

const name = 'lightpath.half-close'

/** `liblightpath.so` in ENVOY_DYNAMIC_MODULES_SEARCH_PATH. It has a thread of its own, which no unloading would end. */
const filter = { dynamicModuleConfig: { name: 'lightpath', doNotClose: true }, filterName: 'half-close' }

export const halfCloseOfConnection: MessageInitShape<typeof FilterSchema> = {
  name,
  configType: { case: 'typedConfig', value: any(DynamicModuleNetworkFilterSchema, filter) },
}

export const halfCloseOfRequest: MessageInitShape<typeof HttpFilterSchema> = {
  name,
  configType: { case: 'typedConfig', value: any(DynamicModuleFilterSchema, filter) },
}
