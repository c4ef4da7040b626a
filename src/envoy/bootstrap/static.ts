/** Puts resources into one static bootstrap, for `envoy --mode validate` and for tests: Envoy with no control plane. */

import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { familyOf, ofHostPort } from '../../net/address.ts'
import { socketAddress } from '../address.ts'
import type { Bootstrap } from '../api/envoy/config/bootstrap/v3/bootstrap_pb.js'
import { type Cluster, Cluster_DiscoveryType, ClusterSchema } from '../api/envoy/config/cluster/v3/cluster_pb.js'
import { AddressSchema } from '../api/envoy/config/core/v3/address_pb.js'
import { TypedExtensionConfigSchema } from '../api/envoy/config/core/v3/extension_pb.js'
import { type ClusterLoadAssignment, ClusterLoadAssignmentSchema } from '../api/envoy/config/endpoint/v3/endpoint_pb.js'
import type { Filter } from '../api/envoy/config/listener/v3/listener_components_pb.js'
import { AdditionalAddressSchema, type Listener, ListenerSchema } from '../api/envoy/config/listener/v3/listener_pb.js'
import { type RouteConfiguration, RouteConfigurationSchema } from '../api/envoy/config/route/v3/route_pb.js'
import {
  type ScopedRouteConfiguration,
  ScopedRouteConfigurationSchema,
} from '../api/envoy/config/route/v3/scoped_route_pb.js'
import {
  HttpConnectionManagerSchema,
  ScopedRouteConfigurationsListSchema,
} from '../api/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.js'
import { type Resource, type TypeUrl, typeUrls } from '../resource.ts'
import { scopesHolder, sharedListener } from '../resources/listener.ts'
import { type BootstrapOptions, bootstrap } from './bootstrap.ts'

/**
 * Returns the bootstrap with the resources inside: endpoints in their clusters, filters and routes in their listeners,
 * by scope where those are shared.
 * @param bind whether the listeners accept connections on their addresses themselves, in place of redirected ones
 */
export function staticBootstrap(resources: readonly Resource[], options: BootstrapOptions, bind = false): Bootstrap {
  const of = (typeUrl: TypeUrl) => resources.filter(resource => resource.typeUrl === typeUrl)
  const named = (typeUrl: TypeUrl) => new Map(of(typeUrl).map(resource => [resource.name, resource.encode()]))
  const endpoints = named(typeUrls.endpoints)
  const routes = staticRoutes(of(typeUrls.scope), named(typeUrls.route))
  const filters = named(typeUrls.filter)

  const result = bootstrap(options)
  result.dynamicResources = undefined
  result.staticResources!.clusters.push(
    ...of(typeUrls.cluster).map(({ name, encode }) =>
      staticCluster(fromBinary(ClusterSchema, encode()), decode(endpoints.get(name))),
    ),
  )
  // Scopes stand inside the listeners that Service ports share.
  const listeners = of(typeUrls.listener).filter(({ name }) => name !== scopesHolder.name)
  const own = new Set(listeners.map(({ name }) => name))
  const bound = of(typeUrls.scope).flatMap(({ name }) => (bind && !own.has(name) ? name : []))
  result.staticResources!.listeners.push(
    ...listeners.flatMap(({ encode }) => {
      const listener = fromBinary(ListenerSchema, encode())
      putFilters(listener, filters)
      for (const filter of listener.filterChains.flatMap(chain => chain.filters)) putRoutes(filter, routes)
      return bind ? boundListener(listener, bound) : listener
    }),
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

interface Routes {
  readonly configuration: (name: string) => RouteConfiguration | undefined
  /** The scopes, with their route configurations inside. */
  readonly scoped: () => ScopedRouteConfiguration[]
}

function staticRoutes(scopes: readonly Resource[], configurations: ReadonlyMap<string, Uint8Array>): Routes {
  const configuration = (name: string) => {
    const bytes = configurations.get(name)
    return bytes && fromBinary(RouteConfigurationSchema, bytes)
  }
  const scoped = () =>
    scopes.map(({ encode }) => {
      const scope = fromBinary(ScopedRouteConfigurationSchema, encode())
      return { ...scope, routeConfigurationName: '', routeConfiguration: configuration(scope.routeConfigurationName) }
    })
  return { configuration, scoped }
}

function putFilters({ filterChains, defaultFilterChain }: Listener, filters: ReadonlyMap<string, Uint8Array>): void {
  for (const filter of [...filterChains, ...(defaultFilterChain ? [defaultFilterChain] : [])].flatMap(
    chain => chain.filters,
  )) {
    const bytes = filter.configType.case === 'configDiscovery' ? filters.get(filter.name) : undefined
    const config = bytes && fromBinary(TypedExtensionConfigSchema, bytes).typedConfig
    if (config) filter.configType = { case: 'typedConfig', value: config }
  }
}

/** @param addresses of the Service ports that share a listener; none binds a listener that has none of its family */
function boundListener(listener: Listener, addresses: readonly string[]): readonly Listener[] {
  if (listener.bindToPort === false) return [{ ...listener, bindToPort: true }]
  const ofFamily = addresses.map(ofHostPort).filter(({ ip }) => listener.name === sharedListener(familyOf(ip)!).name)
  const [address, ...more] = ofFamily.map(({ ip, port }) => create(AddressSchema, socketAddress(ip, port)))
  if (!address) return []
  const additionalAddresses = more.map(address => create(AdditionalAddressSchema, { address }))
  return [{ ...listener, address, additionalAddresses, transparent: undefined }]
}

function putRoutes({ configType }: Filter, routes: Routes): void {
  if (configType.case !== 'typedConfig' || !configType.value.typeUrl.endsWith(HttpConnectionManagerSchema.typeName))
    return
  const manager = fromBinary(HttpConnectionManagerSchema, configType.value.value)
  const { routeSpecifier } = manager
  if (routeSpecifier.case === 'rds') {
    const routeConfig = routes.configuration(routeSpecifier.value.routeConfigName)
    if (routeConfig) manager.routeSpecifier = { case: 'routeConfig', value: routeConfig }
  } else if (routeSpecifier.case === 'scopedRoutes') {
    routeSpecifier.value.configSpecifier = {
      case: 'scopedRouteConfigurationsList',
      value: create(ScopedRouteConfigurationsListSchema, { scopedRouteConfigurations: routes.scoped() }),
    }
  }
  configType.value.value = toBinary(HttpConnectionManagerSchema, manager)
}
