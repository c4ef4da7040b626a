/** Options that all connections through Envoy have in common. */

import type { MessageInitShape } from '@bufbuild/protobuf'
import type { TcpKeepaliveSchema } from '../api/envoy/config/core/v3/address_pb.js'

/**
 * Keepalive on both sides of Envoy, in seconds: it notices a vanished peer after four minutes, and NATs on the way keep
 * idle connections.
 */
export const tcpKeepalive: MessageInitShape<typeof TcpKeepaliveSchema> = {
  keepaliveTime: 120,
  keepaliveInterval: 30,
  keepaliveProbes: 4,
}
