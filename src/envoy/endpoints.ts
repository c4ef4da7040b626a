/** The endpoints of a Service port as Envoy's EDS resource: the one that changes often, and alone. */

import type { PortState } from '../services/port.ts'
import { socketAddress } from './address.ts'
import { ClusterLoadAssignmentSchema } from './api/envoy/config/endpoint/v3/endpoint_pb.js'
import { encode, resource } from './encoding.ts'
import { type Resource, typeUrls } from './resource.ts'

export function endpointsResource(state: PortState): Resource {
  const lbEndpoints = state.endpoints.map(({ ip, port }) => ({
    hostIdentifier: { case: 'endpoint' as const, value: { address: socketAddress(ip, port) } },
  }))
  const endpoints = lbEndpoints.length === 0 ? [] : [{ lbEndpoints }]
  return resource(
    typeUrls.endpoints,
    state.id,
    encode(ClusterLoadAssignmentSchema, { clusterName: state.id, endpoints }),
  )
}
