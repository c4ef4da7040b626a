/** The routes of a Service port as Envoy's RDS resource. */

import type { PortState } from '../services/port.ts'
import { resource } from './encoding.ts'
import { protocolOf } from './protocols/protocol.ts'
import { type Resource, typeUrls } from './resource.ts'

/**
 * Undefined for protocols without routes (tcp). Requires the cluster alone, so that the route is there when the listener
 * asks for it: a listener that is acknowledged serves only once it has its route.
 */
export function routeResource(state: PortState): Resource | undefined {
  const { routes } = protocolOf(state)
  const { id, settings } = state
  return routes && resource(typeUrls.route, id, () => routes(id, settings), [{ typeUrl: typeUrls.cluster, name: id }])
}
