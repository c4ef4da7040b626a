/**
 * Finds out what a client speaks, from its first bytes. On a listener whose port is meant for HTTP, connections that
 * begin with something else go on as TCP, as behind kube-proxy. The bytes are read without consuming them (MSG_PEEK).
 *
 * The module's filter (native/detection/detection.c) does it where Envoy has the module. Envoy's own resets a
 * connection whose FIN comes right behind its first bytes, before any filter of the connection is asked, and takes a
 * tunnel for a request.
 * https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/listeners/listener_filters/http_inspector
 */

import type { MessageInitShape } from '@bufbuild/protobuf'
import { StringValueSchema } from '@bufbuild/protobuf/wkt'
import { DynamicModuleListenerFilterSchema } from '../api/envoy/extensions/filters/listener/dynamic_modules/v3/dynamic_modules_pb.js'
import { HttpInspectorSchema } from '../api/envoy/extensions/filters/listener/http_inspector/v3/http_inspector_pb.js'
import { ApplicationProtocolInputSchema } from '../api/envoy/extensions/matching/common_inputs/network/v3/network_inputs_pb.js'
import type { MatcherSchema } from '../api/xds/type/matcher/v3/matcher_pb.js'
import { any, duration } from '../encoding.ts'
import { envoyModule } from '../program/module.ts'

function ownDetection(silentMs: number) {
  const filterConfig = any(StringValueSchema, { value: String(silentMs) })
  const filter = { dynamicModuleConfig: envoyModule, filterName: 'detection', filterConfig }
  return {
    name: 'lightpath.detection',
    configType: { case: 'typedConfig', value: any(DynamicModuleListenerFilterSchema, filter) },
  } as const
}

const httpInspector = {
  name: 'envoy.filters.listener.http_inspector',
  configType: { case: 'typedConfig', value: any(HttpInspectorSchema, {}) },
} as const

/**
 * What these filters call HTTP begins so for a matcher: `'http/1.0'`, `'http/1.1'`, `'h2c'`; others get no protocol.
 */
const httpPrefix = "'h"

/**
 * Field of a listener: connections that begin with HTTP take the filter chain, others the default one. A filter chain's
 * own match by three protocols would cost 3 kB more a listener.
 * https://www.envoyproxy.io/docs/envoy/v1.40.0/intro/arch_overview/advanced/matching/matching_api
 *
 * @param chain the filter chain's name
 */
export function httpTakes(chain: string): MessageInitShape<typeof MatcherSchema> {
  const input = { name: 'application_protocol', typedConfig: any(ApplicationProtocolInputSchema, {}) }
  const matcher = { case: 'valueMatch', value: { matchPattern: { case: 'prefix', value: httpPrefix } } } as const
  const action = { name: chain, typedConfig: any(StringValueSchema, { value: chain }) }
  return {
    matcherType: {
      case: 'matcherList',
      value: {
        matchers: [
          {
            predicate: { matchType: { case: 'singlePredicate', value: { input, matcher } } },
            onMatch: { onMatch: { case: 'action', value: action } },
          },
        ],
      },
    },
  }
}

/**
 * The filter, and fields, of a listener that finds out whether a connection begins with HTTP, and with which version.
 * A client that sends nothing for so long waits for the server to speak first, or connects in advance: TCP serves both.
 * By default Envoy closes such connections after 15 s.
 *
 * The module's filter waits by itself (native/detection/silent.h).
 */
export function detection(hasModule: boolean, silentMs: number) {
  if (hasModule) return { filter: ownDetection(silentMs), timeout: { listenerFiltersTimeout: duration(0) } } as const
  const timeout = { listenerFiltersTimeout: duration(silentMs), continueOnListenerFiltersTimeout: true } as const
  return { filter: httpInspector, timeout } as const
}
