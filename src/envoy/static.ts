/** Resources as one static bootstrap, for `envoy --mode validate` and for tests: Envoy with no control plane. */

import { fromBinary, toBinary } from '@bufbuild/protobuf'
import type { Bootstrap } from './api/envoy/config/bootstrap/v3/bootstrap_pb.js'
import { type Cluster, Cluster_DiscoveryType, ClusterSchema } from './api/envoy/config/cluster/v3/cluster_pb.js'
import { type ClusterLoadAssignment, ClusterLoadAssignmentSchema } from './api/envoy/config/endpoint/v3/endpoint_pb.js'
import type { Filter } from './api/envoy/config/listener/v3/listener_components_pb.js'
import { type Listener, ListenerSchema } from './api/envoy/config/listener/v3/listener_pb.js'
import { type RouteConfiguration, RouteConfigurationSchema } from './api/envoy/config/route/v3/route_pb.js'
import { HttpConnectionManagerSchema } from './api/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.js'
import { type BootstrapOptions, bootstrap } from './bootstrap.ts'
import { type Resource, type TypeUrl, typeUrls } from './resource.ts'

/**
 * The bootstrap with the resources inside: endpoints in their clusters, routes in their listeners.
 * @param bind whether the listeners take connections on their addresses themselves, in place of redirected ones
 */
export function staticBootstrap(resources: readonly Resource[], options: BootstrapOptions, bind = false): Bootstrap {
  const of = (typeUrl: TypeUrl) => resources.filter(resource => resource.typeUrl === typeUrl)
  const named = (typeUrl: TypeUrl) => new Map(of(typeUrl).map(resource => [resource.name, resource.encode()]))
  const endpoints = named(typeUrls.endpoints)
  const routes = named(typeUrls.route)

  const result = bootstrap(options)
  result.dynamicResources = undefined
  result.staticResources!.clusters = of(typeUrls.cluster).map(({ name, encode }) =>
    staticCluster(fromBinary(ClusterSchema, encode()), decode(endpoints.get(name))),
  )
  result.staticResources!.listeners.push(
    ...of(typeUrls.listener).map(({ encode }) => staticListener(fromBinary(ListenerSchema, encode()), routes, bind)),
  )
  return result
}

function decode(bytes: Uint8Array | undefined): ClusterLoadAssignment | undefined {
  return bytes && fromBinary(ClusterLoadAssignmentSchema, bytes)
}

function staticCluster(cluster: Cluster, loadAssignment: ClusterLoadAssignment | undefined): Cluster {
  return {
    ...cluster,
    clusterDiscoveryType: { case: 'type', value: Cluster_DiscoveryType.STATIC },
    edsClusterConfig: undefined,
    loadAssignment,
  }
}

function staticListener(listener: Listener, routes: ReadonlyMap<string, Uint8Array>, bind: boolean): Listener {
  for (const filter of listener.filterChains.flatMap(chain => chain.filters)) putRoutes(filter, routes)
  return listener.bindToPort === false ? { ...listener, bindToPort: bind } : listener
}

function putRoutes({ configType }: Filter, routes: ReadonlyMap<string, Uint8Array>): void {
  if (configType.case !== 'typedConfig' || !configType.value.typeUrl.endsWith(HttpConnectionManagerSchema.typeName))
    return
  const manager = fromBinary(HttpConnectionManagerSchema, configType.value.value)
  if (manager.routeSpecifier.case !== 'rds') return
  const bytes = routes.get(manager.routeSpecifier.value.routeConfigName)
  const routeConfig: RouteConfiguration | undefined = bytes && fromBinary(RouteConfigurationSchema, bytes)
  if (routeConfig) manager.routeSpecifier = { case: 'routeConfig', value: routeConfig }
  configType.value.value = toBinary(HttpConnectionManagerSchema, manager)
}
