/** The VIP of a Service port as Envoy's listener. */

import { hostPort } from '../services/address.ts'
import type { PortState } from '../services/port.ts'
import { socketAddress } from './address.ts'
import { ListenerSchema } from './api/envoy/config/listener/v3/listener_pb.js'
import { encode, resource } from './encoding.ts'
import { protocolOf } from './protocols/protocol.ts'
import { type Resource, typeUrls } from './resource.ts'

/**
 * Named by VIP:port, since Envoy refuses two listeners of one address. Not bound to its port: connections come from the
 * redirect listener (bootstrap.ts), by their original destination.
 *
 * Of the settings, only idle-timeout, access-log and tcp's lb-policy are written here; all others change in cluster and
 * route, because a changed listener closes its live connections after the drain time.
 */
export function listenerResource(state: PortState): Resource {
  const { id, vip, port, namespace, name, settings } = state
  const { networkFilter } = protocolOf(state)
  const bytes = () =>
    encode(ListenerSchema, {
      name: hostPort(vip, port.port),
      address: socketAddress(vip, port.port),
      bindToPort: false,
      // The name is what the access log calls the Service port.
      filterChains: [{ name: id, filters: [networkFilter({ id, namespace, name, settings })] }],
    })
  return resource(typeUrls.listener, hostPort(vip, port.port), bytes, [
    { typeUrl: typeUrls.cluster, name: id },
    { typeUrl: typeUrls.endpoints, name: id },
  ])
}
