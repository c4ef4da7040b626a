/** The protocols by the names that Service ports have for them. */

import type { PortState } from '../../plan/ports/port.ts'
import type { EnvoyProtocol } from '../../services/settings/envoyprotocol.ts'
import { grpc } from './grpc.ts'
import { http } from './http.ts'
import type { Protocol } from './protocol.ts'
import { tcp } from './tcp.ts'

/** Redis is passed on as TCP: Envoy's redis_proxy breaks what clients rely on (docs/architecture.md). */
const protocols: Readonly<Record<EnvoyProtocol, Protocol>> = { http, grpc, redis: tcp, tcp }

/** Throws where the Service port is meant for the kernel layer: it must not be published to Envoy. */
export function protocolOf({ id, layer }: PortState): Protocol {
  if (layer.wants !== 'envoy') throw new Error(`${id} is not meant for Envoy: ${layer.reason}`)
  return protocols[layer.protocol]
}
