/** Small resources that Envoy takes. */

import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf'
import { type Any, anyPack } from '@bufbuild/protobuf/wkt'
import { fromAds } from '../../../src/envoy/ads.ts'
import {
  Cluster_DiscoveryType,
  type Cluster_LbPolicy,
  ClusterSchema,
} from '../../../src/envoy/api/envoy/config/cluster/v3/cluster_pb.js'
import { ClusterLoadAssignmentSchema } from '../../../src/envoy/api/envoy/config/endpoint/v3/endpoint_pb.js'
import { ListenerSchema } from '../../../src/envoy/api/envoy/config/listener/v3/listener_pb.js'
import { RouteConfigurationSchema } from '../../../src/envoy/api/envoy/config/route/v3/route_pb.js'
import { RouterSchema } from '../../../src/envoy/api/envoy/extensions/filters/http/router/v3/router_pb.js'
import { HttpConnectionManagerSchema } from '../../../src/envoy/api/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.js'
import { TcpProxySchema } from '../../../src/envoy/api/envoy/extensions/filters/network/tcp_proxy/v3/tcp_proxy_pb.js'
import { scopedRouteConfiguration, scopedRoutes } from '../../../src/envoy/protocols/httpscopes.ts'
import { backing, type Resource, type ResourceRef, typeUrls } from '../../../src/envoy/resource.ts'

interface ClusterOptions {
  readonly lbPolicy?: Cluster_LbPolicy
  /** Refused by Envoy when negative. */
  readonly connectTimeoutSeconds?: number
}

export function clusterResource(name: string, version: string, options: ClusterOptions = {}): Resource {
  const message = create(ClusterSchema, {
    name,
    clusterDiscoveryType: { case: 'type', value: Cluster_DiscoveryType.EDS },
    edsClusterConfig: { edsConfig: fromAds },
    connectTimeout: { seconds: BigInt(options.connectTimeoutSeconds ?? 5) },
    lbPolicy: options.lbPolicy ?? 0,
  })
  return { typeUrl: typeUrls.cluster, name, version, requires: [], encode: () => toBinary(ClusterSchema, message) }
}

export function endpointsResource(
  name: string,
  version: string,
  ports: readonly number[],
  address = '127.0.0.1',
): Resource {
  const lbEndpoints = ports.map(port => ({
    hostIdentifier: { case: 'endpoint' as const, value: { address: socketAddress(address, port) } },
  }))
  const message = create(ClusterLoadAssignmentSchema, { clusterName: name, endpoints: [{ lbEndpoints }] })
  const requires = [{ typeUrl: typeUrls.cluster, name }]
  return {
    typeUrl: typeUrls.endpoints,
    name,
    version,
    requires,
    encode: () => toBinary(ClusterLoadAssignmentSchema, message),
  }
}

interface ListenerOptions {
  /** Default 10.0.0.1. */
  readonly address?: string
  readonly port?: number
  /** HTTP with the route configuration of this name; without it the listener forwards TCP to the cluster. */
  readonly route?: string
}

export function listenerResource(
  name: string,
  version: string,
  cluster: string,
  options: ListenerOptions = {},
): Resource {
  const tcp = anyPack(
    TcpProxySchema,
    create(TcpProxySchema, { statPrefix: 'tcp', clusterSpecifier: { case: 'cluster', value: cluster } }),
  )
  const { address = '10.0.0.1', port = 80, route } = options
  const http = () => connectionManager({ case: 'rds', value: { configSource: fromAds, routeConfigName: route ?? '' } })
  const typedConfig = route === undefined ? tcp : http()
  return listener(name, version, socketAddress(address, port), typedConfig, backing(cluster))
}

/** HTTP by the routes of all scopes. */
export function commonListenerResource(name: string, version: string, port = 80): Resource {
  const typedConfig = connectionManager({ case: 'scopedRoutes', value: scopedRoutes })
  return listener(name, version, socketAddress('0.0.0.0', port), typedConfig, [])
}

function connectionManager(
  routeSpecifier: MessageInitShape<typeof HttpConnectionManagerSchema>['routeSpecifier'] & object,
): Any {
  const router = { case: 'typedConfig' as const, value: anyPack(RouterSchema, create(RouterSchema)) }
  return anyPack(
    HttpConnectionManagerSchema,
    create(HttpConnectionManagerSchema, {
      statPrefix: 'http',
      routeSpecifier,
      httpFilters: [{ name: 'router', configType: router }],
    }),
  )
}

function listener(
  name: string,
  version: string,
  address: ReturnType<typeof socketAddress>,
  typedConfig: Any,
  requires: readonly ResourceRef[],
): Resource {
  const message = create(ListenerSchema, {
    name,
    address,
    bindToPort: false,
    filterChains: [{ filters: [{ name: 'only', configType: { case: 'typedConfig', value: typedConfig } }] }],
  })
  return { typeUrl: typeUrls.listener, name, version, requires, encode: () => toBinary(ListenerSchema, message) }
}

/** Of the route of its name. */
export function scopeResource(name: string, cluster: string, sharedListener: string): Resource {
  const requires = [...backing(cluster), { typeUrl: typeUrls.listener, name: sharedListener }]
  return { typeUrl: typeUrls.scope, name, version: '1', requires, encode: () => scopedRouteConfiguration(name) }
}

export function routeResource(
  name: string,
  version: string,
  cluster: string,
  domains: readonly string[] = ['*'],
): Resource {
  const message = create(RouteConfigurationSchema, {
    name,
    virtualHosts: [
      {
        name: 'all',
        domains: [...domains],
        routes: [
          {
            match: { pathSpecifier: { case: 'prefix', value: '/' } },
            action: { case: 'route', value: { clusterSpecifier: { case: 'cluster', value: cluster } } },
          },
        ],
      },
    ],
  })
  const requires = [{ typeUrl: typeUrls.cluster, name: cluster }]
  return { typeUrl: typeUrls.route, name, version, requires, encode: () => toBinary(RouteConfigurationSchema, message) }
}

function socketAddress(address: string, port: number) {
  return {
    address: {
      case: 'socketAddress' as const,
      value: { address, portSpecifier: { case: 'portValue' as const, value: port } },
    },
  }
}
