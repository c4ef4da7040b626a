/** Makes all resources of a frontend. */

import { protocolOf } from '../protocols/protocols.ts'
import { type Resource, refKey } from '../resource.ts'
import { clusterResource } from './cluster/cluster.ts'
import { endpointsResource } from './cluster/endpoints.ts'
import { lbPolicyOf } from './cluster/loadbalancing.ts'
import { addressesOf, type Frontend, mayShowClient } from './frontend.ts'
import {
  hasOwnListeners,
  haveSameListeners,
  listenerResources,
  type NodeOptions,
  scopeResource,
  sharedResources,
} from './listener.ts'
import { haveSameRoutes, routeResource } from './route.ts'

export interface PublishOptions extends NodeOptions {
  /** The frontend is closing: connections to it on a shared listener end, each after its next answer. Default false. */
  readonly isDraining?: boolean
}

/** A frontend and its resources as last published. */
export interface Published {
  readonly frontend: Frontend
  readonly isDraining: boolean
  readonly node: NodeOptions
  readonly resources: readonly Resource[]
}

/**
 * Makes cluster, endpoints, route (http), the frontend's own listeners and its scope on the shared listener, without
 * that listener: in the order in which Envoy needs them. With what was published `before`, resources that cannot have
 * changed are taken from there: after a change of endpoints only these are encoded, and the route if a request may be
 * tried at more or fewer of them; after one of the node mostly none.
 */
export function resourcesOf(frontend: Frontend, options: PublishOptions = {}, before?: Published): readonly Resource[] {
  const { isDraining = false } = options
  if (before && before.isDraining === isDraining && areNamedAlike(before, frontend, options)) {
    return update(before.resources, changedOf(before, frontend, options))
  }
  const route = routeResource(frontend, options, isDraining)
  const [cluster, scope] = [clusterResource(frontend, options), scopeResource(frontend)]
  const listeners = listenerResources(frontend, options)
  const resources = [cluster, endpointsResource(frontend), route, ...listeners, scope]
  // A copy has no room for more, as a filtered list has.
  return resources.filter(resource => resource !== undefined).slice()
}

/** What may have other content than before. */
function changedOf(before: Published, frontend: Frontend, options: PublishOptions): readonly Resource[] {
  const { frontend: was, node, isDraining } = before
  const route = haveSameRoutes(was, node, frontend, options) ? undefined : routeResource(frontend, options, isDraining)
  const resources = [
    haveSameEndpoints(was, frontend) ? undefined : endpointsResource(frontend),
    route,
    lbPolicyOf(was, node).policy === lbPolicyOf(frontend, options).policy
      ? undefined
      : clusterResource(frontend, options),
    ...(haveSameListeners(node, options) ? [] : listenerResources(frontend, options)),
  ]
  return resources.filter(resource => resource !== undefined)
}

function update(resources: readonly Resource[], changed: readonly Resource[]): readonly Resource[] {
  const isOther = ({ typeUrl, name, version }: Resource) => {
    return (one: Resource) => one.typeUrl === typeUrl && one.name === name && one.version !== version
  }
  const updated = resources.map(resource => changed.find(isOther(resource)) ?? resource)
  return updated.every((resource, index) => resource === resources[index]) ? resources : updated
}

/** Makes everything that an Envoy needs for these frontends, shared listeners included. */
export function configurationOf(frontends: readonly Frontend[], options: PublishOptions = {}): readonly Resource[] {
  const shared = frontends.flatMap(frontend => sharedResources(frontend, options))
  const once = new Map(shared.map(resource => [refKey(resource), resource]))
  return [...once.values(), ...frontends.flatMap(frontend => resourcesOf(frontend, options))]
}

/** Whether connections find both by the same listeners, scope and routes. */
export function areReachedAlike(a: Frontend, b: Frontend): boolean {
  return protocolOf(a) === protocolOf(b) && haveSameAddresses(a, b) && hasOwnListeners(a) === hasOwnListeners(b)
}

/** Whether both have the same resources, which may differ in what endpoints and the rest of the node make of them. */
function areNamedAlike({ frontend: a, node }: Published, b: Frontend, { redirectPort }: NodeOptions): boolean {
  return (
    node.redirectPort === redirectPort &&
    a.id === b.id &&
    a.settings === b.settings &&
    a.layer.wants === 'envoy' &&
    b.layer.wants === 'envoy' &&
    a.layer.protocol === b.layer.protocol &&
    mayShowClient(a) === mayShowClient(b) &&
    haveSameAddresses(a, b)
  )
}

function haveSameEndpoints(a: Frontend, b: Frontend): boolean {
  return a.endpoints === b.endpoints && a.spillOver === b.spillOver && a.observed === b.observed
}

function haveSameAddresses(a: Frontend, b: Frontend): boolean {
  const [ofA, ofB] = [addressesOf(a), addressesOf(b)]
  return ofA.length === ofB.length && ofA.every(({ ip, port }, i) => ip === ofB[i]!.ip && port === ofB[i]!.port)
}
