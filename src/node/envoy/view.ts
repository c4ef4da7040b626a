/** What `lightpath explain` shows of a frontend in Envoy. */

import type { Connections } from '../../envoy/protocols/httpfresh.ts'
import { type Resource, type ResourceRef, typeNameOf } from '../../envoy/resource.ts'
import { type BalancingNode, type LbChoice, lbPolicyOf } from '../../envoy/resources/cluster/loadbalancing.ts'
import { connectionsOf } from '../../envoy/resources/route.ts'
import type { ResourceStore } from '../../xds/store.ts'
import type { Lifecycle } from '../lifecycle/lifecycle.ts'
import type { PublishedFrontend } from '../lifecycle/published.ts'
import type { Envoys } from './envoys.ts'
import type { Nacks } from './xds/nacks.ts'

export interface EnvoyView {
  readonly up: boolean
  readonly draining: boolean
  /** How many endpoints it has. */
  readonly endpoints: number
  /** How an endpoint is chosen, and why not as its settings say. */
  readonly lbPolicy: LbChoice
  /** See `Observed`. */
  readonly endConnections: boolean
  /** What must happen once has these. */
  readonly connections: Connections
  readonly resources: readonly {
    readonly type: string
    readonly name: string
    readonly version: string
    readonly status: 'acknowledged' | 'refused' | 'older version acknowledged' | 'not yet acknowledged'
    readonly detail?: string
  }[]
}

interface Reports {
  readonly store: ResourceStore
  readonly envoys: Envoys
  readonly nacks: Nacks
}

/** @param shared the resources that the frontend shares with others */
export function viewOf(
  { isRedirected, isDraining }: Lifecycle,
  { frontend, resources }: PublishedFrontend,
  shared: readonly Resource[],
  node: BalancingNode,
  { store, envoys, nacks }: Reports,
): EnvoyView {
  return {
    up: isRedirected,
    draining: isDraining,
    endpoints: frontend.endpoints.length,
    lbPolicy: lbPolicyOf(frontend, node),
    endConnections: frontend.observed?.endConnections === true,
    connections: connectionsOf(frontend),
    resources: [...resources, ...shared].map(resource => {
      const { typeUrl, name, version } = store.get(resource.typeUrl, resource.name) ?? resource
      const detail = nacks.detailOf({ typeUrl, name, version })
      const status = detail === undefined ? statusOf(resource, store, envoys) : 'refused'
      return { type: typeNameOf(typeUrl), name, version, status, detail }
    }),
  }
}

/** Says how far the Envoys are with the current version of a resource. */
export function statusOf(
  ref: ResourceRef,
  store: ResourceStore,
  envoys: Envoys,
): EnvoyView['resources'][number]['status'] {
  const wanted = store.get(ref.typeUrl, ref.name)?.version
  const versions = envoys.acknowledged(ref)
  if (versions.length === 0 || versions.includes(undefined)) return 'not yet acknowledged'
  return versions.every(version => version === wanted) ? 'acknowledged' : 'older version acknowledged'
}
