/**
 * Has Envoy report to the agent what it does otherwise than kube-proxy would, whether the access log has lines of it or not:
 * a record of few fields on the way of the access log, which becomes no line (observe/accesslog/observations.ts).
 */

import type { MessageInitShape } from '@bufbuild/protobuf'
import type { Settings } from '../../services/settings/settings.ts'
import type { AccessLogFilterSchema, AccessLogSchema } from '../api/envoy/config/accesslog/v3/accesslog_pb.js'
import { httpErrors, httpFormat, openTelemetry } from './accesslog.ts'

type AccessLog = MessageInitShape<typeof AccessLogSchema>
type Filter = MessageInitShape<typeof AccessLogFilterSchema>

/** The first field behind the owner of a record that is an observation. */
const mark = 'observed'

function observation(filter: Filter, fields: Readonly<Record<string, string>>): AccessLog {
  return openTelemetry({ kind: mark, ...fields }, filter)
}

/** Of a connection: what the module found (native/misnamed.h). */
const spoke = { filter: 'lightpath', key: 'spoke' }

/** A port that is named http has a connection that speaks something else. */
export const misnamedConnection: AccessLog = observation(
  {
    filterSpecifier: {
      case: 'metadataFilter',
      value: {
        matcher: {
          filter: spoke.filter,
          path: [{ segment: { case: 'key', value: spoke.key } }],
          value: { matchPattern: { case: 'presentMatch', value: true } },
        },
        matchIfKeyNotFound: false,
      },
    },
  },
  { spoke: `%DYNAMIC_METADATA(${spoke.filter}:${spoke.key})%` },
)

/** How many bytes endpoints had of a request. */
const sent = { sent: '%UPSTREAM_WIRE_BYTES_SENT%' }

/** A request ended since its client did (DC), or its answer broke the rules of HTTP (UPE). */
const lostRequest: AccessLog = observation(
  { filterSpecifier: { case: 'responseFlagFilter', value: { flags: ['DC', 'UPE'] } } },
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
