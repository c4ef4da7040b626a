/** The routes of a Service port as Envoy's RDS resource. */

import { resource } from './encoding.ts'
import { protocolOf } from './protocols/protocol.ts'
import { backing, type Resource, typeUrls } from './resource.ts'
import { routesNameOf, type Way } from './way.ts'

/**
 * Undefined for protocols without routes (tcp). Envoy asks for it by name: a listener of the Service port's own with its
 * first word of it, and one that is shared when the scope is acknowledged.
 */
export function routeResource(way: Way, isLeaving: boolean): Resource | undefined {
  const { routes } = protocolOf(way)
  const { id, settings } = way
  const name = routesNameOf(way)
  return routes && resource(typeUrls.route, name, () => routes(name, id, settings, isLeaving), backing(id))
}
