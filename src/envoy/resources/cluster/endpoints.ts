/** Makes the endpoints of a Service port an EDS resource: the one that changes often, and alone. */

import { hostPort } from '../../../net/address.ts'
import type { Endpoint } from '../../../plan/ports/port.ts'
import { HealthStatus } from '../../api/envoy/config/core/v3/health_check_pb.js'
import { LocalityLbEndpointsSchema } from '../../api/envoy/config/endpoint/v3/endpoint_components_pb.js'
import { ClusterLoadAssignmentSchema } from '../../api/envoy/config/endpoint/v3/endpoint_pb.js'
import { asField, encode, merge, resource } from '../../encoding.ts'
import { type Resource, typeUrls } from '../../resource.ts'
import { varintLength, writeVarint } from '../../varint.ts'
import { type Frontend, type Observed, resourceNameOf } from '../frontend.ts'

export function endpointsResource(frontend: Frontend): Resource {
  const name = resourceNameOf(frontend)
  return resource(typeUrls.endpoints, name, () => encodeEndpoints(name, frontend))
}

function encodeEndpoints(clusterName: string, { endpoints, spillOver = [], observed }: Frontend): Uint8Array {
  const name = asField(ClusterLoadAssignmentSchema.field.clusterName, clusterName)
  if (endpoints.length === 0) return name
  const inField = (locality: Uint8Array) => asField(ClusterLoadAssignmentSchema.field.endpoints, locality)
  const near = inField(encodeLocality(endpoints, observed?.ejected))
  if (spillOver.length === 0) return merge(name, near)
  return merge(name, near, inField(merge(encodeLocality(spillOver, observed?.ejected), second)))
}

/**
 * The next priority: Envoy uses these as far as more than a quarter of the first are ejected, and the module by its own
 * rule.
 */
const second = encode(LocalityLbEndpointsSchema, { priority: 1 })

/** Five messages, one within the other, each the only field of the last: `LbEndpoint.endpoint.address.socket_address`. */
const depth = 4
const lbEndpointsTag = (LocalityLbEndpointsSchema.field.lbEndpoints.number << 3) | 2
const firstFieldTag = (1 << 3) | 2
const addressTag = (2 << 3) | 2
const portTag = 3 << 3
/** `LbEndpoint.health_status`: UNHEALTHY. */
const unhealthy = Uint8Array.of(2 << 3, HealthStatus.UNHEALTHY)
/** The length of the text of an IPv6 address. */
const longestIp = 45

/**
 * Writes a LocalityLbEndpoints byte by byte: a Service may have thousands of endpoints on each of hundreds of ports,
 * and building five objects for each of them takes several times as long. No message is longer than 127 bytes, so that
 * each length is one byte.
 */
function encodeLocality(endpoints: readonly Endpoint[], ejected: Observed['ejected']): Uint8Array {
  const longest = 2 * depth + longestIp + 6 + unhealthy.length
  const bytes = Buffer.allocUnsafe(endpoints.length * longest)
  let at = 0
  for (const { ip, port } of endpoints) {
    const address = 2 + ip.length + 1 + varintLength(port)
    const isEjected = ejected?.has(hostPort(ip, port)) === true
    for (let level = 0; level < depth; level++) {
      bytes[at++] = level === 0 ? lbEndpointsTag : firstFieldTag
      const health = level === 0 && isEjected ? unhealthy.length : 0
      bytes[at++] = address + 2 * (depth - 1 - level) + health
    }
    bytes[at++] = addressTag
    bytes[at++] = ip.length
    at += bytes.write(ip, at, 'latin1')
    bytes[at++] = portTag
    at = writeVarint(bytes, at, port)
    if (!isEjected) continue
    bytes.set(unhealthy, at)
    at += unhealthy.length
  }
  return bytes.subarray(0, at)
}
