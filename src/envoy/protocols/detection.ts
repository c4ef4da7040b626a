/**
 * What a client speaks, from its first bytes: on a listener whose port is meant for HTTP, connections that begin with something
 * else go on as TCP, as behind kube-proxy. Envoy looks without taking the bytes (MSG_PEEK) until the first line is whole or
 * cannot be one of HTTP.
 * https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/listeners/listener_filters/http_inspector
 */

import { HttpInspectorSchema } from '../api/envoy/extensions/filters/listener/http_inspector/v3/http_inspector_pb.js'
import { any, duration } from '../encoding.ts'

/** Finds out which of `httpVersions` a connection begins with. */
export const httpInspector = {
  name: 'envoy.filters.listener.http_inspector',
  configType: { case: 'typedConfig', value: any(HttpInspectorSchema, {}) },
} as const

/** What http_inspector calls HTTP, of a filter chain's match. */
export const httpVersions = ['http/1.0', 'http/1.1', 'h2c']

/**
 * Who sends nothing for so long waits for the server to speak first, or connects in advance: TCP serves both. Default of Envoy:
 * such connections are closed after 15 s.
 */
const silenceMs = 1000

/** Fields of a listener that looks at first bytes. */
export const silentAreTcp = {
  listenerFiltersTimeout: duration(silenceMs),
  continueOnListenerFiltersTimeout: true,
} as const
