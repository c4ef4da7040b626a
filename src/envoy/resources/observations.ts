/**
 * Has Envoy report to the agent what it does otherwise than kube-proxy would, whether the access log has lines of it or
 * not: a record of few fields on the way of the access log, which becomes no line (observe/accesslog/observations.ts).
 */

import type { MessageInitShape } from '@bufbuild/protobuf'
import { lastOfBoth, lossFlags, observationMark } from '../../observe/accesslog/format.ts'
import type { Settings } from '../../services/settings/settings.ts'
import {
  type AccessLogFilterSchema,
  type AccessLogSchema,
  ComparisonFilter_Op,
} from '../api/envoy/config/accesslog/v3/accesslog_pb.js'
import { AccessLogType } from '../api/envoy/data/accesslog/v3/accesslog_pb.js'
import type { ValueMatcherSchema } from '../api/envoy/type/matcher/v3/value_pb.js'
import { and, httpErrors, httpFormat, loggedAs, openTelemetry, or } from './accesslog.ts'

type AccessLog = MessageInitShape<typeof AccessLogSchema>
type Filter = MessageInitShape<typeof AccessLogFilterSchema>

function observation(filter: Filter, fields: Readonly<Record<string, string>>): AccessLog {
  return openTelemetry({ kind: observationMark, ...fields }, filter)
}

/** Of a connection: what the module found (native/detection/misnamed.h). */
const spoke = { filter: 'lightpath', key: 'spoke' }

const hasSpoken = (match: MessageInitShape<typeof ValueMatcherSchema>['matchPattern']): Filter => ({
  filterSpecifier: {
    case: 'metadataFilter',
    value: {
      matcher: {
        filter: spoke.filter,
        path: [{ segment: { case: 'key', value: spoke.key } }],
        value: { matchPattern: match },
      },
      matchIfKeyNotFound: false,
    },
  },
})

/** What a client speaks is known before its connection has an endpoint, and is reported then, once. */
const byClient = and(loggedAs(AccessLogType.TcpUpstreamConnected), hasSpoken({ case: 'presentMatch', value: true }))

/** What the module calls it (native/detection/serverfirst.c) that a server speaks first. */
export const serverFirst = 'server first'

/**
 * That a server speaks first is known later, so that a connection is looked at every now and then: only while it is
 * young, or many that stay open would crowd out what others have to report.
 */
function byServer(youngMs: number): Filter {
  const value = { defaultValue: youngMs, runtimeKey: 'lightpath.young_ms' }
  return and(
    loggedAs(AccessLogType.TcpPeriodic, AccessLogType.TcpConnectionEnd),
    hasSpoken({ case: 'stringMatch', value: { matchPattern: { case: 'exact', value: serverFirst } } }),
    { filterSpecifier: { case: 'durationFilter', value: { comparison: { op: ComparisonFilter_Op.LE, value } } } },
  )
}

/** A port that is named http has a connection that speaks something else. @param youngMs see `byServer` */
export function misnamedConnection(youngMs: number): AccessLog {
  return observation(or(byClient, byServer(youngMs)), { spoke: `%DYNAMIC_METADATA(${spoke.filter}:${spoke.key})%` })
}

/** How many bytes endpoints had of a request. */
const sent = { [lastOfBoth]: '%UPSTREAM_WIRE_BYTES_SENT%' }

/** A request ended since its client did (DC), or its answer broke the rules of HTTP (UPE). */
const lostRequest: AccessLog = observation(
  { filterSpecifier: { case: 'responseFlagFilter', value: { flags: [...lossFlags] } } },
  { flags: '%RESPONSE_FLAGS%', ...sent },
)

const errorsAndLostRequests = openTelemetry({ ...httpFormat, ...sent }, httpErrors('DC'))

/**
 * The access log of HTTP, with lost requests. By default one logger has both, since another would cost each port number
 * 4 kB: its records end with `sent`, and the agent finds out which are lines.
 */
export function httpLogs(which: Settings['accessLog']): AccessLog[] {
  if (which === 'errors') return [errorsAndLostRequests]
  return which === 'true' ? [openTelemetry(httpFormat, undefined), lostRequest] : [lostRequest]
}
