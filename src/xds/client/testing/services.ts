/** Services in the store, for tests of what a client gets. */

import { isDeepStrictEqual as isDeepEqual } from 'node:util'
import {
  backing as backingOf,
  type Resource,
  type ResourceRef,
  type TypeUrl,
  typeUrls,
} from '../../../envoy/resource.ts'
import type { ResourceStore } from '../../store.ts'
import { Link } from './link.ts'
import { type Content, modelResource, type Quality } from './resource.ts'

const { cluster, endpoints, filter, listener, route, scope } = typeUrls

let versions = 0
export const nextVersion = () => `v${++versions}`

export interface ServiceState {
  readonly cluster: Quality
  readonly endpoints: Quality | undefined
  readonly listener: Quality | undefined
  /** The listener's. */
  readonly filter: Quality | undefined
  readonly route: Quality | undefined
  readonly scope: Quality | undefined
  /**
   * The Service that the address leads to: route and scope require that one's cluster and endpoints. Default its own.
   */
  readonly leadsTo?: string | undefined
}

const commonRef: ResourceRef = { typeUrl: listener, name: 'common' }
const shared = modelResource(listener, 'common', 'v1', { quality: 'good', scopes: true })

/** What `envoy/` would make of a Service: listener, route and scope require cluster and endpoints. */
export function resourcesOf(name: string, state: ServiceState, version: () => string): Resource[] {
  const resource = (typeUrl: TypeUrl, content: Content, requires: readonly ResourceRef[]) =>
    modelResource(typeUrl, name, version(), content, requires)
  const own = (typeUrl: TypeUrl) => ({ typeUrl, name })
  const resources = [resource(cluster, { quality: state.cluster }, [])]
  if (state.endpoints) resources.push(resource(endpoints, { quality: state.endpoints }, [{ typeUrl: cluster, name }]))
  const backing = state.endpoints ? backingOf(name) : [{ typeUrl: cluster, name }]
  if (state.listener) {
    const asks = { route: state.route !== undefined, filter: state.filter !== undefined }
    const waitsFor = state.filter && [own(filter)]
    resources.push({ ...resource(listener, { quality: state.listener, ...asks }, backing), waitsFor })
    if (state.filter)
      resources.push({ ...resource(filter, { quality: state.filter }, []), askedForBy: [own(listener)] })
  }
  const { leadsTo = name } = state
  const led = leadsTo === name ? backing : backingOf(leadsTo)
  const askedForBy = [
    ...(state.listener ? [own(state.filter ? filter : listener)] : []),
    ...(state.scope ? [own(scope)] : []),
  ]
  if (state.route) resources.push({ ...resource(route, { quality: state.route }, led), askedForBy })
  // Nothing in a scope says where its route leads.
  const scopeVersion = `${state.scope} scope`
  if (state.scope)
    resources.push(modelResource(scope, name, scopeVersion, { quality: state.scope }, [...led, commonRef]))
  return name === 'd' ? resources.map(resource => ({ ...resource, isLarge: true })) : resources
}

export const types = [cluster, endpoints, route, listener, filter, scope]

export function putService(
  store: ResourceStore,
  name: string,
  state: ServiceState,
  changed: readonly TypeUrl[] = types,
): void {
  const put = resourcesOf(name, state, nextVersion)
  const present = new Set(put.map(resource => resource.typeUrl))
  // The version is made from what a resource requires, too, but for scopes.
  const isOther = ({ typeUrl, requires }: Resource) => !isDeepEqual(store.get(typeUrl, name)?.requires, requires)
  store.update({
    put: put.filter(resource => changed.includes(resource.typeUrl) || isOther(resource)),
    remove: types.filter(typeUrl => !present.has(typeUrl)).map(typeUrl => ({ typeUrl, name })),
  })
  keepCommon(store)
}

export function removeService(store: ResourceStore, name: string): void {
  store.update({ remove: types.map(typeUrl => ({ typeUrl, name })) })
  keepCommon(store)
}

/** The listener of all scopes exists while there are any. */
export function keepCommon(store: ResourceStore): void {
  store.update(store.size(scope) > 0 ? { put: [shared] } : { remove: [commonRef] })
}

export const good: ServiceState = {
  cluster: 'good',
  endpoints: 'good',
  listener: 'good',
  filter: 'good',
  route: 'good',
  scope: 'good',
}

/** Returns a link that has delivered these Services. */
export function delivered(...names: string[]): Link {
  const link = new Link()
  for (const name of names) putService(link.store, name, good)
  link.drain()
  return link
}

export const versionOf = (link: Link, typeUrl: TypeUrl, name: string) => link.store.get(typeUrl, name)?.version
