/**
 * The filters that let answers finish after a client's FIN (native/halfclose/halfclose.c): one of the connection,
 * before its connection manager, and one of its requests, the first of them.
 */

import type { MessageInitShape } from '@bufbuild/protobuf'
import { StringValueSchema } from '@bufbuild/protobuf/wkt'
import type { Settings } from '../../services/settings/settings.ts'
import type { FilterSchema } from '../api/envoy/config/listener/v3/listener_components_pb.js'
import { DynamicModuleFilterSchema } from '../api/envoy/extensions/filters/http/dynamic_modules/v3/dynamic_modules_pb.js'
import { DynamicModuleNetworkFilterSchema } from '../api/envoy/extensions/filters/network/dynamic_modules/v3/dynamic_modules_pb.js'
import type { HttpFilterSchema } from '../api/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.js'
import { any } from '../encoding.ts'
import { envoyModule } from '../program/module.ts'
import type { FilterNode } from './protocol.ts'

type NetworkFilter = MessageInitShape<typeof FilterSchema>
type HttpFilter = MessageInitShape<typeof HttpFilterSchema>

const name = 'lightpath.half-close'
const filter = { dynamicModuleConfig: envoyModule, filterName: 'half-close' }

/**
 * How many seconds a connection stays after its client's FIN without a byte written to it. A client that has given up
 * sends the same FIN, and its endpoint does not learn of it before.
 */
const patienceSeconds = 10

function ofConnection(config: string): NetworkFilter {
  const filterConfig = any(StringValueSchema, { value: config })
  return {
    name,
    configType: { case: 'typedConfig', value: any(DynamicModuleNetworkFilterSchema, { ...filter, filterConfig }) },
  }
}

const ofRequest: HttpFilter = {
  name,
  configType: { case: 'typedConfig', value: any(DynamicModuleFilterSchema, filter) },
}

interface HalfClose {
  readonly network: readonly NetworkFilter[]
  readonly http: readonly HttpFilter[]
}

const none: HalfClose = { network: [], http: [] }
const forWhile: HalfClose = { network: [ofConnection(String(patienceSeconds))], http: [ofRequest] }
const forEver: HalfClose = { network: [ofConnection('')], http: [ofRequest] }

/** The filters of a port: they come before all others. */
export function halfCloseFilters(
  { halfClose }: Pick<Settings, 'halfClose'>,
  { hasModule = false }: FilterNode,
): HalfClose {
  if (halfClose === 'true') return forEver
  return halfClose === 'auto' && hasModule ? forWhile : none
}
