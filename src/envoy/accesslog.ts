/**
 * The access log: one JSON object a line on Envoy's standard output.
 * https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/observability/access_log/usage
 */

import type { JsonObject, MessageInitShape } from '@bufbuild/protobuf'
import type { Settings } from '../services/settings.ts'
import {
  type AccessLogFilterSchema,
  type AccessLogSchema,
  ComparisonFilter_Op,
} from './api/envoy/config/accesslog/v3/accesslog_pb.js'
import { StdoutAccessLogSchema } from './api/envoy/extensions/access_loggers/stream/v3/stream_pb.js'
import { any } from './encoding.ts'

type AccessLogs = MessageInitShape<typeof AccessLogSchema>[]
type Filter = MessageInitShape<typeof AccessLogFilterSchema>

const common: JsonObject = {
  time: '%START_TIME%',
  // The cluster has the id of the Service port, so that all of them share one format.
  service: '%UPSTREAM_CLUSTER_RAW%',
  client: '%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%',
  endpoint: '%UPSTREAM_HOST%',
  flags: '%RESPONSE_FLAGS%',
  failure: '%UPSTREAM_TRANSPORT_FAILURE_REASON%',
  bytesReceived: '%BYTES_RECEIVED%',
  bytesSent: '%BYTES_SENT%',
  durationMs: '%DURATION%',
}

/** What a client writes is cut: a request may have 1 MiB of headers, and whoever calls what fails fills the log of all. */
const httpFormat: JsonObject = {
  ...common,
  protocol: '%PROTOCOL%',
  method: '%REQ(:METHOD):32%',
  host: '%REQ(:AUTHORITY):128%',
  path: '%REQ(:PATH):256%',
  code: '%RESPONSE_CODE%',
  details: '%RESPONSE_CODE_DETAILS%',
  attempts: '%UPSTREAM_REQUEST_ATTEMPT_COUNT%',
  requestId: '%REQ(X-REQUEST-ID):64%',
}

/**
 * Response flags that mean that Envoy or an endpoint failed. A client that went away (DC) is not among them.
 * https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/observability/access_log/usage#response-flags
 */
const failureFlags = ['LH', 'UH', 'UT', 'LR', 'UR', 'UF', 'UC', 'UO', 'NR', 'URX', 'NC', 'UMSDR', 'UPE', 'OM', 'DF']

const failed: Filter = {
  filterSpecifier: { case: 'responseFlagFilter', value: { flags: failureFlags } },
}

const serverError: Filter = {
  filterSpecifier: {
    case: 'statusCodeFilter',
    value: {
      comparison: {
        op: ComparisonFilter_Op.GE,
        value: { defaultValue: 500, runtimeKey: 'lightpath.access_log.min_code' },
      },
    },
  },
}

export function httpAccessLog(which: Settings['accessLog']): AccessLogs {
  return accessLog(which, httpFormat, {
    filterSpecifier: { case: 'orFilter', value: { filters: [serverError, failed] } },
  })
}

export function tcpAccessLog(which: Settings['accessLog']): AccessLogs {
  return accessLog(which, { ...common, protocol: 'TCP' }, failed)
}

function accessLog(which: Settings['accessLog'], format: JsonObject, errors: Filter): AccessLogs {
  if (which === 'false') return []
  const log: AccessLogs[number] = {
    name: 'envoy.access_loggers.stdout',
    configType: {
      case: 'typedConfig',
      value: any(StdoutAccessLogSchema, {
        accessLogFormat: { case: 'logFormat', value: { format: { case: 'jsonFormat', value: format } } },
      }),
    },
  }
  return [which === 'errors' ? { ...log, filter: errors } : log]
}
