/**
 * TCP: bytes to one endpoint a connection. Half-closed connections pass, idle ones stay: kube-proxy leaves both alone.
 * https://www.envoyproxy.io/docs/envoy/v1.40.0/intro/arch_overview/listeners/tcp_proxy
 */

import type { Settings } from '../../services/settings.ts'
import { tcpAccessLog } from '../accesslog.ts'
import { TcpProxySchema } from '../api/envoy/extensions/filters/network/tcp_proxy/v3/tcp_proxy_pb.js'
import { duration, encode, encodedAny, merge, remembered } from '../encoding.ts'
import type { Protocol } from './protocol.ts'

/**
 * Tries to connect, each at an endpoint chosen anew: nothing of the client's has been sent yet. More of them than outlier
 * detection takes to eject an endpoint, since least-request prefers the dead one, which has no connections.
 */
const connectAttempts = 8

const filter = remembered((settings: Settings) =>
  encode(TcpProxySchema, {
    statPrefix: 'tcp',
    idleTimeout: duration(settings.idleTimeout ?? 0),
    maxConnectAttempts: connectAttempts,
    backoffOptions: { baseInterval: duration(10), maxInterval: duration(200) },
    // Whatever lb-policy is: where it hashes nothing this costs nothing, and so it changes in the cluster alone.
    hashPolicy: [{ policySpecifier: { case: 'sourceIp', value: {} } }],
    accessLog: tcpAccessLog(settings.accessLog),
  }),
)

export const tcp: Protocol = {
  networkFilter: ({ id, settings }) => {
    const own = encode(TcpProxySchema, { clusterSpecifier: { case: 'cluster', value: id } })
    return {
      name: 'envoy.filters.network.tcp_proxy',
      configType: { case: 'typedConfig', value: encodedAny(TcpProxySchema, merge(filter(settings), own)) },
    }
  },
  clusterOptions: () => ({}),
}
