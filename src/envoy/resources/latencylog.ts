/**
 * The access logger by which the module learns how long endpoints take (native/latency/watch.c), called for each try of
 * a request: the router's `upstream_log`. It writes nothing.
 * https://www.envoyproxy.io/docs/envoy/v1.40.0/api-v3/extensions/filters/http/router/v3/router.proto
 */

import type { MessageInitShape } from '@bufbuild/protobuf'
import { StringValueSchema } from '@bufbuild/protobuf/wkt'
import type { AccessLogSchema } from '../api/envoy/config/accesslog/v3/accesslog_pb.js'
import { DynamicModuleAccessLogSchema } from '../api/envoy/extensions/access_loggers/dynamic_modules/v3/dynamic_modules_pb.js'
import { any } from '../encoding.ts'
import { envoyModule } from '../program/module.ts'

/** @param directory in which the module keeps its observations (program/latencies.ts) */
export function latencyLog(directory: string): MessageInitShape<typeof AccessLogSchema> {
  const value = any(DynamicModuleAccessLogSchema, {
    dynamicModuleConfig: envoyModule,
    loggerName: 'latency',
    loggerConfig: any(StringValueSchema, { value: directory }),
  })
  return { name: 'envoy.access_loggers.dynamic_modules', configType: { case: 'typedConfig', value } }
}
