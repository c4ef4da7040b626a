/** The endpoints of a Service port as Envoy's EDS resource: the one that changes often, and alone. */

import type { Endpoint, PortState } from '../services/port.ts'
import { socketAddress } from './address.ts'
import { ClusterLoadAssignmentSchema } from './api/envoy/config/endpoint/v3/endpoint_pb.js'
import { encode, resource } from './encoding.ts'
import { type Resource, typeUrls } from './resource.ts'

export function endpointsResource({ id, endpoints }: PortState): Resource {
  return resource(typeUrls.endpoints, id, () => encodeEndpoints(id, endpoints))
}

function encodeEndpoints(clusterName: string, endpoints: readonly Endpoint[]): Uint8Array {
  const lbEndpoints = endpoints.map(({ ip, port }) => ({
    hostIdentifier: { case: 'endpoint' as const, value: { address: socketAddress(ip, port) } },
  }))
  return encode(ClusterLoadAssignmentSchema, {
    clusterName,
    endpoints: lbEndpoints.length === 0 ? [] : [{ lbEndpoints }],
  })
}
