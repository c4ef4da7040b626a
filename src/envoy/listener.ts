/** Where a Service port is reached, as Envoy's listeners. */

import { hostPort } from '../services/address.ts'
import { socketAddress } from './address.ts'
import { ListenerSchema } from './api/envoy/config/listener/v3/listener_pb.js'
import { OriginalSrcSchema } from './api/envoy/extensions/filters/listener/original_src/v3/original_src_pb.js'
import { any, encode, resource } from './encoding.ts'
import { protocolOf } from './protocols/protocol.ts'
import { type Resource, typeUrls } from './resource.ts'
import { addressesOf, mayShowClient, type Way } from './way.ts'

/**
 * Named by address and port, since Envoy refuses two listeners of one address; that of a node port is for any address.
 * Not bound to their ports: connections come from the redirect listener (redirect.ts), by their original destination,
 * which Envoy looks up as it is and then with the unspecified address in its place.
 *
 * Of the settings, only idle-timeout, access-log and tcp's lb-policy are written here; all others change in cluster and
 * route, because a changed listener closes its live connections after the drain time. So each place has its own.
 *
 * @param clientMark SO_MARK of connections from the client's address, where the node has them: that option replaces the
 * one of the bootstrap
 */
export function listenerResources(way: Way, clientMark: number | undefined): readonly Resource[] {
  const { id, namespace, name: service, settings } = way
  const { networkFilter } = protocolOf(way)
  const sourceMark = mayShowClient(way) ? clientMark : undefined
  return addressesOf(way).map(({ ip, port }) => {
    const name = hostPort(ip, port)
    const bytes = () =>
      encode(ListenerSchema, {
        name,
        address: socketAddress(ip, port),
        bindToPort: false,
        listenerFilters: sourceMark === undefined ? [] : [originalSource(sourceMark)],
        // The name is what the access log calls the Service port.
        filterChains: [{ name: id, filters: [networkFilter({ id, namespace, name: service, settings })] }],
      })
    return resource(typeUrls.listener, name, bytes, [
      { typeUrl: typeUrls.cluster, name: id },
      { typeUrl: typeUrls.endpoints, name: id },
    ])
  })
}

/** https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/listeners/listener_filters/original_src_filter */
function originalSource(mark: number) {
  return {
    name: 'envoy.filters.listener.original_src',
    configType: { case: 'typedConfig', value: any(OriginalSrcSchema, { mark }) },
  } as const
}
