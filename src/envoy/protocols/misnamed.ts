/**
 * Serves connections to http ports that do not begin as HTTP: as TCP, to the same endpoints, and the agent hears what
 * they spoke.
 */

import type { MessageInitShape } from '@bufbuild/protobuf'
import { defaultFirstBytesTimeout, defaultSettings } from '../../services/settings/definitions.ts'
import type { Settings } from '../../services/settings/settings.ts'
import type { FilterSchema } from '../api/envoy/config/listener/v3/listener_components_pb.js'
import { DynamicModuleNetworkFilterSchema } from '../api/envoy/extensions/filters/network/dynamic_modules/v3/dynamic_modules_pb.js'
import { any, duration } from '../encoding.ts'
import { envoyModule } from '../program/module.ts'
import { misnamedConnection } from '../resources/observations.ts'
import type { FilterNode } from './protocol.ts'
import { clusterByAddress, proxyTo } from './tcp.ts'

type NetworkFilters = readonly MessageInitShape<typeof FilterSchema>[]

/** Finds servers that speak first (native/detection/serverfirst.c). */
const serverFirst: NetworkFilters[number] = {
  name: 'lightpath.server-first',
  configType: {
    case: 'typedConfig',
    value: any(DynamicModuleNetworkFilterSchema, { dynamicModuleConfig: envoyModule, filterName: 'server-first' }),
  },
}

/** A connection may stay open for days: it is looked at each time so long has passed, and at its end. */
const lookMs = 2000
/** No more when this has passed after the wait for the client's first bytes: servers that greet do so within seconds. */
const greetingMs = 5000

function observed({ firstBytesTimeout = defaultFirstBytesTimeout }: FilterNode) {
  return {
    accessLog: [misnamedConnection(firstBytesTimeout + greetingMs)],
    accessLogOptions: { flushAccessLogOnConnected: true, accessLogFlushInterval: duration(lookMs) },
  }
}

/** On a listener of the Service port's own. */
export function otherThanHttp(cluster: string, settings: Settings, node: FilterNode): NetworkFilters {
  return node.hasModule ? [serverFirst, proxyTo(cluster, settings, observed(node))] : [proxyTo(cluster, settings)]
}

/** On a shared listener. */
export function otherThanHttpByAddress(node: FilterNode): NetworkFilters {
  return [clusterByAddress, ...otherThanHttp('none', { ...defaultSettings, accessLog: 'false' }, node)]
}
