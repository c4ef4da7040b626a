/**
 * Configures the access log: Envoy sends the agent what there is to log of a request, by OpenTelemetry's protocol on
 * the socket of xDS. The agent writes the lines (observe/accesslog/), since Envoy cannot limit them by Service port:
 * its filter for that (`process_ratelimit`) has one bucket for a listener, which Service ports share.
 * https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/observability/access_log/usage
 * https://www.envoyproxy.io/docs/envoy/v1.40.0/api-v3/extensions/access_loggers/open_telemetry/v3/logs_service.proto
 */

import type { MessageInitShape } from '@bufbuild/protobuf'
import { ownerNames, separator } from '../../observe/accesslog/format.ts'
import type { Settings } from '../../services/settings/settings.ts'
import { xdsClusterName } from '../ads.ts'
import {
  type AccessLogFilterSchema,
  type AccessLogSchema,
  ComparisonFilter_Op,
} from '../api/envoy/config/accesslog/v3/accesslog_pb.js'
import { AccessLogType } from '../api/envoy/data/accesslog/v3/accesslog_pb.js'
import { OpenTelemetryAccessLogConfigSchema } from '../api/envoy/extensions/access_loggers/open_telemetry/v3/logs_service_pb.js'
import { any, duration } from '../encoding.ts'

type AccessLogs = MessageInitShape<typeof AccessLogSchema>[]
type Filter = MessageInitShape<typeof AccessLogFilterSchema>

type Format = Readonly<Record<string, string>>

/**
 * Names the owner of a line. Statistics name the cluster after the Service port, so that all of them share one format.
 * Without a cluster, as where no Service port has the address, the address that the client connected to names it.
 */
const owner: Readonly<Record<(typeof ownerNames)[number], string>> = {
  service: '%UPSTREAM_CLUSTER%',
  frontend: '%DOWNSTREAM_LOCAL_ADDRESS%',
}

const common: Format = {
  client: '%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%',
  endpoint: '%UPSTREAM_HOST%',
  flags: '%RESPONSE_FLAGS%',
  failure: '%UPSTREAM_TRANSPORT_FAILURE_REASON%',
  bytesReceived: '%BYTES_RECEIVED%',
  bytesSent: '%BYTES_SENT%',
  durationMs: '%DURATION%',
}

/**
 * How long each worker waits before it sends: briefly, since the agent compares endpoints where requests fail. What the
 * agent does not take in time is dropped.
 */
const sending = { bufferBytes: 65_536, everyMs: 250, timeoutMs: 5000 }

/** A client's text is cut: a request may have 256 KiB of headers, and whoever calls what fails fills everybody's log. */
export const httpFormat: Format = {
  ...common,
  protocol: '%PROTOCOL%',
  code: '%RESPONSE_CODE%',
  details: '%RESPONSE_CODE_DETAILS%',
  attempts: '%UPSTREAM_REQUEST_ATTEMPT_COUNT%',
  method: '%REQ(:METHOD):32%',
  host: '%REQ(:AUTHORITY):128%',
  path: '%REQ(:PATH):256%',
  requestId: '%REQ(X-REQUEST-ID):64%',
}

/**
 * Response flags that mean that Envoy or an endpoint failed, or that a client speaks another protocol (DPE). A client
 * that went away (DC) is not among them.
 * https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/observability/access_log/usage#response-flags
 */
const failureFlags = [
  'DPE',
  'LH',
  'UH',
  'UT',
  'LR',
  'UR',
  'UF',
  'UC',
  'UO',
  'NR',
  'URX',
  'NC',
  'UMSDR',
  'UPE',
  'OM',
  'DF',
]

const hasFlags = (...flags: string[]): Filter => ({ filterSpecifier: { case: 'responseFlagFilter', value: { flags } } })

const failed = hasFlags(...failureFlags)

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

/** @param more response flags that count, too */
export function httpErrors(...more: readonly string[]): Filter {
  return or(serverError, hasFlags(...failureFlags, ...more))
}

export function loggedAs(...types: readonly AccessLogType[]): Filter {
  return { filterSpecifier: { case: 'logTypeFilter', value: { types: [...types] } } }
}

export function and(...filters: Filter[]): Filter {
  return { filterSpecifier: { case: 'andFilter', value: { filters } } }
}

export function or(...filters: Filter[]): Filter {
  return { filterSpecifier: { case: 'orFilter', value: { filters } } }
}

/** Once of each connection: those of misnamed ports are looked at before, too (protocols/misnamed.ts). */
const atEnd = loggedAs(AccessLogType.TcpConnectionEnd)

export function tcpAccessLog(which: Settings['accessLog']): AccessLogs {
  return accessLog(which, { ...common, protocol: 'TCP' }, and(failed, atEnd), atEnd)
}

function accessLog(which: Settings['accessLog'], format: Format, errors: Filter, all?: Filter): AccessLogs {
  if (which === 'false') return []
  return [openTelemetry(format, which === 'errors' ? errors : all)]
}

/** Logs fields of a format, behind the owner. */
export function openTelemetry(format: Format, filter: Filter | undefined): AccessLogs[number] {
  return {
    filter,
    name: 'envoy.access_loggers.open_telemetry',
    configType: { case: 'typedConfig', value: logger(format) },
  }
}

/**
 * One attribute with all names and values, the line's owner first, since each attribute takes Envoy half a kilobyte of
 * every listener. A record carries its time by itself.
 */
function logger(format: Format) {
  const names = [...ownerNames, ...Object.keys(format)].join(separator)
  const text = [...ownerNames.map(name => owner[name]), ...Object.values(format)].join(separator)
  const values = [{ key: names, value: { value: { case: 'stringValue', value: text } } } as const]
  return any(OpenTelemetryAccessLogConfigSchema, {
    logName: 'access',
    disableBuiltinLabels: true,
    grpcService: {
      targetSpecifier: { case: 'envoyGrpc', value: { clusterName: xdsClusterName } },
      timeout: duration(sending.timeoutMs),
    },
    attributes: { values },
    bufferSizeBytes: sending.bufferBytes,
    bufferFlushInterval: duration(sending.everyMs),
  })
}
