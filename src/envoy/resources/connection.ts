/** Options that all connections through Envoy have in common. */

import type { MessageInitShape } from '@bufbuild/protobuf'
import type { TcpKeepaliveSchema } from '../api/envoy/config/core/v3/address_pb.js'
import { SocketOption_SocketState, type SocketOptionSchema } from '../api/envoy/config/core/v3/socket_option_pb.js'

/**
 * Keepalive on both sides of Envoy, in seconds: it notices a vanished peer after four minutes, and NATs on the way keep
 * idle connections.
 */
export const tcpKeepalive: MessageInitShape<typeof TcpKeepaliveSchema> = {
  keepaliveTime: 120,
  keepaliveInterval: 30,
  keepaliveProbes: 4,
}

/**
 * An option of a listening socket: Envoy gets a connection with its first bytes, or when its client has sent nothing
 * for a second. Then the kernel repeats its answer to the SYN, and takes the client's next segment for the end of the
 * handshake. So the first bytes are known at once (protocols/detection.ts), and a new connection wakes a worker once in
 * place of twice.
 * https://man7.org/linux/man-pages/man7/tcp.7.html (TCP_DEFER_ACCEPT)
 */
export const withFirstBytes: MessageInitShape<typeof SocketOptionSchema> = {
  description: 'TCP_DEFER_ACCEPT',
  level: 6n,
  name: 9n,
  value: { case: 'intValue', value: 1n },
  state: SocketOption_SocketState.STATE_LISTENING,
}
