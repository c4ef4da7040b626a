/**
 * Serves TCP: the bytes of a connection go to one endpoint. Half-closed connections pass, idle ones stay, as with
 * kube-proxy.
 * https://www.envoyproxy.io/docs/envoy/v1.40.0/intro/arch_overview/listeners/tcp_proxy
 */

import type { MessageInitShape } from '@bufbuild/protobuf'
import type { Settings } from '../../services/settings/settings.ts'
import type { FilterSchema } from '../api/envoy/config/listener/v3/listener_components_pb.js'
import { ConfigSchema as FilterStateSchema } from '../api/envoy/extensions/filters/network/set_filter_state/v3/set_filter_state_pb.js'
import { TcpProxySchema } from '../api/envoy/extensions/filters/network/tcp_proxy/v3/tcp_proxy_pb.js'
import { any, duration, encode, encodedAny, memoize, merge } from '../encoding.ts'
import { tcpAccessLog } from '../resources/accesslog.ts'
import { tcpKeepalive } from '../resources/connection.ts'
import type { Protocol } from './protocol.ts'

/**
 * Tries to connect, each at an endpoint chosen anew: nothing of the client's has been sent yet. There are more of them
 * than outlier detection takes to eject an endpoint, since least-request prefers the dead one, which has no
 * connections.
 */
const connectAttempts = 8

const filter = memoize((settings: Settings) =>
  encode(TcpProxySchema, {
    statPrefix: 'tcp',
    idleTimeout: duration(settings.idleTimeout ?? 0),
    maxConnectAttempts: connectAttempts,
    backoffOptions: { baseInterval: duration(10), maxInterval: duration(200) },
    // Set whatever lb-policy is: where nothing is hashed this costs nothing, and so lb-policy changes the cluster
    // alone.
    hashPolicy: [{ policySpecifier: { case: 'sourceIp', value: {} } }],
    accessLog: tcpAccessLog(settings.accessLog),
  }),
)

export const tcp: Protocol = {
  networkFilters: ({ name, settings }) => [proxyTo(name, settings)],
  clusterOptions: () => ({}),
  upstreamKeepalive: tcpKeepalive,
}

/** @param more what the filter has beside, such as other access logs */
export function proxyTo(
  cluster: string,
  settings: Settings,
  more: MessageInitShape<typeof TcpProxySchema> = {},
): MessageInitShape<typeof FilterSchema> {
  const own = encode(TcpProxySchema, { clusterSpecifier: { case: 'cluster', value: cluster }, ...more })
  return {
    name: 'envoy.filters.network.tcp_proxy',
    configType: { case: 'typedConfig', value: encodedAny(TcpProxySchema, merge(filter(settings), own)) },
  }
}

const addressAsCluster = {
  format: {
    case: 'textFormatSource',
    value: { specifier: { case: 'inlineString', value: '%DOWNSTREAM_LOCAL_ADDRESS%' } },
  },
} as const

/**
 * On a shared listener, has a connection go to the cluster named by the address that the client connected to. Where no
 * Service port has that address, there is no such cluster, and the connection ends.
 * https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/listeners/network_filters/tcp_proxy_filter#dynamic-cluster-selection
 */
export const clusterByAddress: MessageInitShape<typeof FilterSchema> = {
  name: 'envoy.filters.network.set_filter_state',
  configType: {
    case: 'typedConfig',
    value: any(FilterStateSchema, {
      onNewConnection: [
        {
          key: { case: 'objectKey', value: 'envoy.tcp_proxy.cluster' },
          value: { case: 'formatString', value: addressAsCluster },
        },
      ],
    }),
  },
}
