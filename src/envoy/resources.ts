/** All that Envoy is told of a Service port. */

import type { PortState } from '../services/port.ts'
import { clusterResource } from './cluster.ts'
import { endpointsResource } from './endpoints.ts'
import { listenerResource } from './listener.ts'
import type { Resource } from './resource.ts'
import { routeResource } from './route.ts'

/** What a Service port was and what Envoy was told of it then. */
export interface Told {
  readonly state: PortState
  readonly resources: readonly Resource[]
}

/**
 * Cluster, endpoints, route (http) and listener, in the order in which Envoy needs them. With what was told `before`,
 * resources that cannot have changed are taken from there: after a change of endpoints only these are encoded.
 */
export function resourcesOf(state: PortState, before?: Told): readonly Resource[] {
  const endpoints = endpointsResource(state)
  if (before && differOnlyInEndpoints(before.state, state)) {
    return before.resources.map(resource => (resource.typeUrl === endpoints.typeUrl ? endpoints : resource))
  }
  const [cluster, route, listener] = [clusterResource(state), routeResource(state), listenerResource(state)]
  return route ? [cluster, endpoints, route, listener] : [cluster, endpoints, listener]
}

function differOnlyInEndpoints(a: PortState, b: PortState): boolean {
  return (
    a.id === b.id &&
    a.settings === b.settings &&
    a.port.port === b.port.port &&
    a.layer.wants === 'envoy' &&
    b.layer.wants === 'envoy' &&
    a.layer.protocol === b.layer.protocol &&
    a.vip === b.vip
  )
}
