/**
 * Decides what endpoints learn of a request's client and protocol: headers go on as they came. Only where the endpoint
 * cannot see the client (setting forwarded-headers), the client's address is appended to X-Forwarded-For, and
 * X-Forwarded-Proto is set where there is none.
 *
 * Envoy sets X-Forwarded-Proto on every request that has none, before its routes. So another header keeps what came.
 * https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/http/http_conn_man/headers#x-forwarded-proto
 */

import type { MessageInitShape } from '@bufbuild/protobuf'
import { HeaderValueOption_HeaderAppendAction as Append } from '../api/envoy/config/core/v3/base_pb.js'
import type { VirtualHostSchema } from '../api/envoy/config/route/v3/route_components_pb.js'
import { set } from './earlyheaders.ts'

const forwardedProto = 'x-forwarded-proto'

/** Carries what came; a client's own header of this name is dropped. */
export const protoCarrier = 'x-lightpath-proto'

export const keepProto = set(protoCarrier, `%REQ(${forwardedProto})%`)

type Host = Pick<MessageInitShape<typeof VirtualHostSchema>, 'requestHeadersToAdd' | 'requestHeadersToRemove'>

/** For the virtual host: restores what came, in place of what Envoy has set. A header without a value is not added. */
export const asItCame: Host = {
  requestHeadersToRemove: [forwardedProto],
  requestHeadersToAdd: [
    {
      header: { key: forwardedProto, value: `%REQ(${protoCarrier})%` },
      appendAction: Append.OVERWRITE_IF_EXISTS_OR_ADD,
    },
  ],
}

export const withClient: Host = {
  requestHeadersToAdd: [
    {
      header: { key: 'x-forwarded-for', value: '%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%' },
      appendAction: Append.APPEND_IF_EXISTS_OR_ADD,
    },
  ],
}
