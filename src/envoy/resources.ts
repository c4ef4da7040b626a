/** All that Envoy is told of a way to a Service port. */

import { clusterResource } from './cluster.ts'
import { endpointsResource } from './endpoints.ts'
import { listenerResources } from './listener.ts'
import type { Resource } from './resource.ts'
import { routeResource } from './route.ts'
import { addressesOf, mayShowClient, type Way } from './way.ts'

/** What a way was and what Envoy was told of it then. */
export interface Told {
  readonly way: Way
  readonly resources: readonly Resource[]
}

/**
 * Cluster, endpoints, route (http) and listeners, in the order in which Envoy needs them. With what was told `before`,
 * resources that cannot have changed are taken from there: after a change of endpoints only these are encoded.
 *
 * @param clientMark undefined where endpoints see the node's address; see `listenerResources`
 */
export function resourcesOf(way: Way, before?: Told, clientMark?: number): readonly Resource[] {
  const endpoints = endpointsResource(way)
  if (before && differOnlyInEndpoints(before.way, way)) {
    return before.resources.map(resource => (resource.typeUrl === endpoints.typeUrl ? endpoints : resource))
  }
  const [cluster, route] = [clusterResource(way), routeResource(way)]
  return (route ? [cluster, endpoints, route] : [cluster, endpoints]).concat(listenerResources(way, clientMark))
}

function differOnlyInEndpoints(a: Way, b: Way): boolean {
  return (
    a.id === b.id &&
    a.settings === b.settings &&
    a.layer.wants === 'envoy' &&
    b.layer.wants === 'envoy' &&
    a.layer.protocol === b.layer.protocol &&
    mayShowClient(a) === mayShowClient(b) &&
    haveSameAddresses(a, b)
  )
}

function haveSameAddresses(a: Way, b: Way): boolean {
  const [ofA, ofB] = [addressesOf(a), addressesOf(b)]
  return ofA.length === ofB.length && ofA.every(({ ip, port }, i) => ip === ofB[i]!.ip && port === ofB[i]!.port)
}
