/** What a Service port speaks, as far as its owner says. */

import type { EnvoyProtocol } from './port.ts'
import type { ServicePort } from './service.ts'

/** appProtocol values (KEP-1422, KEP-3726) whose bytes are HTTP/1.1 on the wire. */
const httpAppProtocols: readonly string[] = ['http', 'kubernetes.io/ws']

/**
 * The protocol that Envoy would speak on this port; undefined for UDP and SCTP. appProtocol counts before the port's
 * name (`http`, `http-…`); everything else that runs over TCP is `tcp`.
 */
export function envoyProtocol(port: ServicePort): EnvoyProtocol | undefined {
  if (port.protocol !== 'TCP') return undefined
  if (port.appProtocol !== undefined) return httpAppProtocols.includes(port.appProtocol.toLowerCase()) ? 'http' : 'tcp'
  return port.name === 'http' || port.name.startsWith('http-') ? 'http' : 'tcp'
}
