/** Makes the routes of a Service port an RDS resource. */

import { hostPort } from '../../net/address.ts'
import { defaultSettings } from '../../services/settings/definitions.ts'
import type { Settings } from '../../services/settings/settings.ts'
import { memoize, resource } from '../encoding.ts'
import type { Connections } from '../protocols/httpfresh.ts'
import { goneRouteConfiguration } from '../protocols/httproutes.ts'
import { scopedRouteConfiguration } from '../protocols/httpscopes.ts'
import { protocolOf } from '../protocols/protocols.ts'
import { backing, type Resource, refOf, typeUrls } from '../resource.ts'
import { envoyEndpointsOf, type Frontend, mayShowClient, resourceNameOf } from './frontend.ts'
import { type NodeOptions, routeUsers } from './listener.ts'

/**
 * Undefined for protocols without routes (tcp). Envoy asks for the route by name: for a listener of the Service port's
 * own when that comes, and for a shared one when the scope is acknowledged.
 *
 * @param cluster where the route leads. Default: to the frontend's own
 */
export function routeResource(
  frontend: Frontend,
  options: NodeOptions,
  isDraining: boolean,
  cluster: string = resourceNameOf(frontend),
): Resource | undefined {
  const { routes } = protocolOf(frontend)
  const settings = frontend.observed?.endConnections ? withoutReuse(frontend.settings) : frontend.settings
  const name = resourceNameOf(frontend)
  const routing = {
    isDraining,
    others: othersOf(frontend),
    once: connectionsOf(frontend),
    addsForwarded: addsForwarded(frontend, options),
    namespace: frontend.namespace,
  }
  if (!routes) return undefined
  const bytes = () => routes(name, cluster, settings, routing)
  return { ...resource(typeUrls.route, name, bytes, backing(cluster)), askedForBy: routeUsers(frontend) }
}

/** Compares frontends that differ in their endpoints, observations and nodes. */
export function haveSameRoutes(a: Frontend, nodeOfA: NodeOptions, b: Frontend, nodeOfB: NodeOptions): boolean {
  return (
    addsForwarded(a, nodeOfA) === addsForwarded(b, nodeOfB) &&
    othersOf(a) === othersOf(b) &&
    connectionsOf(a) === connectionsOf(b) &&
    a.observed?.endConnections === b.observed?.endConnections
  )
}

/** Finds the connections of what must happen once. An endpoint that has just come is not known to let them live. */
export function connectionsOf(frontend: Frontend): Connections {
  const { isWatched, lasting } = frontend.observed ?? {}
  if (lasting && envoyEndpointsOf(frontend).every(({ ip, port }) => lasting.has(hostPort(ip, port)))) return 'lasting'
  return isWatched ? 'watched' : 'fresh'
}

/** The owner's setting holds. */
const withoutReuse = memoize(
  (settings: Settings): Settings =>
    settings.reuseConnections === defaultSettings.reuseConnections
      ? { ...settings, reuseConnections: 'never' }
      : settings,
)

/** How many endpoints beside the first may be tried: the routes depend on nothing else of the endpoints. */
function othersOf(frontend: Frontend): number {
  return Math.max(0, Math.min(envoyEndpointsOf(frontend).length - 1, frontend.settings.numRetries))
}

function addsForwarded(frontend: Frontend, { clientMark }: NodeOptions): boolean {
  const { forwardedHeaders } = frontend.settings
  if (forwardedHeaders !== 'auto') return forwardedHeaders === 'add'
  return clientMark === undefined || !mayShowClient(frontend)
}

/**
 * Makes scope and routes of an address that no Service port has, while connections to it may be open: they end after an
 * answer with 503. Without them Envoy would answer 503 on each of them for as long as its client comes back.
 */
export function goneResources(address: string): readonly Resource[] {
  const scope = resource(typeUrls.scope, address, () => scopedRouteConfiguration(address))
  const route = resource(typeUrls.route, address, () => goneRouteConfiguration(address))
  return [{ ...route, askedForBy: [refOf(scope)] }, scope]
}
