/** Options that all connections through Envoy have in common. */

import type { MessageInitShape } from '@bufbuild/protobuf'
import type { TcpKeepaliveSchema } from '../api/envoy/config/core/v3/address_pb.js'

type Keepalive = MessageInitShape<typeof TcpKeepaliveSchema>

/**
 * Keepalive on both sides of Envoy, in seconds: it notices a vanished peer after four minutes, and NATs on the way keep
 * idle connections.
 */
export const tcpKeepalive: Keepalive = { keepaliveTime: 120, keepaliveInterval: 30, keepaliveProbes: 4 }

/**
 * Keepalive to endpoints whose requests may go elsewhere. The kernel ends nothing sooner, but knows after seconds who does
 * not answer, and the agent does with that what is right (node/endpoints/vanished.ts). Idle connections are closed
 * before.
 */
export const askingKeepalive: Keepalive = { keepaliveTime: 2, keepaliveInterval: 2, keepaliveProbes: 119 }
