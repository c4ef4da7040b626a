/** Makes the listeners where redirected connections arrive, before they go on to the listener of their address. */

import type { IpFamily } from '../../net/address.ts'
import { anyAddressOf } from '../../plan/ports/externaldestinations.ts'
import { socketAddress } from '../address.ts'
import { ListenerSchema } from '../api/envoy/config/listener/v3/listener_pb.js'
import { OriginalDstSchema } from '../api/envoy/extensions/filters/listener/original_dst/v3/original_dst_pb.js'
import { ConfigSchema as DirectResponseSchema } from '../api/envoy/extensions/filters/network/direct_response/v3/config_pb.js'
import { any, encode, resource } from '../encoding.ts'
import { type Resource, typeUrls } from '../resource.ts'
import { tcpKeepalive } from './connection.ts'

export interface RedirectOptions {
  /** The port, on all addresses of each family. */
  readonly redirectPort: number
  readonly families: readonly IpFamily[]
  /** IP_TRANSPARENT, which TPROXY needs (CAP_NET_ADMIN). Default true. */
  readonly transparent?: boolean
}

/**
 * One listener for each family, named `redirect-IPv4` and `redirect-IPv6`. They come by xDS as VIPs do, and not in the
 * bootstrap: an Envoy that starts while no agent is there knows no VIP, and must not take connections from the kernel
 * layer.
 *
 * A connection without a listener for its original destination (it was just removed, or somebody connected to the port
 * itself) is closed at once: Envoy never connects to an address because a client named it.
 */
export function redirectListeners({
  redirectPort,
  families,
  transparent = true,
}: RedirectOptions): readonly Resource[] {
  return families.map(family => {
    const name = `redirect-${family}`
    const bytes = encode(ListenerSchema, {
      name,
      ...redirected(family, redirectPort, transparent),
      useOriginalDst: true,
      filterChains: [
        {
          name: 'none',
          filters: [
            {
              name: 'envoy.filters.network.direct_response',
              configType: {
                case: 'typedConfig',
                value: any(DirectResponseSchema, { response: { specifier: { case: 'inlineString', value: '' } } }),
              },
            },
          ],
        },
      ],
    })
    return resource(typeUrls.listener, name, () => bytes)
  })
}

/** The fields of a listener that takes redirected connections at this port, and finds out where they were to go. */
export function redirected(family: IpFamily, port: number, transparent = true) {
  return {
    address: socketAddress(anyAddressOf[family], port),
    transparent: transparent || undefined,
    // Accepted connections inherit it, whichever listener they go on to.
    tcpKeepalive,
    // Between two of many that come at once a worker goes on with those that it has.
    maxConnectionsToAcceptPerSocketEvent: 1,
    listenerFilters: [
      {
        name: 'envoy.filters.listener.original_dst',
        configType: { case: 'typedConfig' as const, value: any(OriginalDstSchema, {}) },
      },
    ],
  }
}
