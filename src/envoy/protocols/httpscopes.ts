/**
 * Finds the Service port of a request on a shared listener: the one whose VIP and port the client connected to. Envoy
 * finds its routes by a header (scoped routes, SRDS); the connection manager writes the address there before the
 * look-up, over whatever the client may have sent.
 * https://www.envoyproxy.io/docs/envoy/v1.40.0/intro/arch_overview/http/http_routing#route-scope
 */

import type { MessageInitShape } from '@bufbuild/protobuf'
import { fromAds } from '../ads.ts'
import { ScopedRouteConfigurationSchema } from '../api/envoy/config/route/v3/scoped_route_pb.js'
import type { ScopedRoutesSchema } from '../api/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.js'
import { encode } from '../encoding.ts'
import { set } from './earlyheaders.ts'

/** Carries the address to the look-up; no endpoint sees it. */
export const addressCarrier = 'x-lightpath-address'

/** Written as `hostPort` writes an address. */
export const writeAddress = set(addressCarrier, '%DOWNSTREAM_LOCAL_ADDRESS%')

export const scopedRoutes: MessageInitShape<typeof ScopedRoutesSchema> = {
  name: 'addresses',
  scopeKeyBuilder: {
    fragments: [
      {
        type: {
          case: 'headerValueExtractor',
          // Without a separator the whole value is one element.
          value: { name: addressCarrier, elementSeparator: '', extractType: { case: 'index', value: 0 } },
        },
      },
    ],
  },
  rdsConfigSource: fromAds,
  configSpecifier: { case: 'scopedRds', value: { scopedRdsConfigSource: fromAds } },
}

/** The encoded ScopedRouteConfiguration: requests to this address take the routes of this name. */
export function scopedRouteConfiguration(address: string): Uint8Array {
  return encode(ScopedRouteConfigurationSchema, {
    name: address,
    routeConfigurationName: address,
    key: { fragments: [{ type: { case: 'stringKey', value: address } }] },
  })
}
