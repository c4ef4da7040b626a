/** Envoy's bootstrap for a node: its xDS server, and the few resources that exist from the start. */

import { create, createRegistry, type JsonObject, type MessageInitShape, toJson } from '@bufbuild/protobuf'
import { StringValueSchema } from '@bufbuild/protobuf/wkt'
import { type ClientAddress, clientAddressKey, firstOwnPort } from '../../services/settings/clientaddress.ts'
import { pipeAddress } from '../address.ts'
import { fromAds, xdsClusterName } from '../ads.ts'
import { type Bootstrap, BootstrapSchema } from '../api/envoy/config/bootstrap/v3/bootstrap_pb.js'
import { Cluster_DiscoveryType, type ClusterSchema } from '../api/envoy/config/cluster/v3/cluster_pb.js'
import type { BindConfigSchema } from '../api/envoy/config/core/v3/address_pb.js'
import {
  ApiConfigSource_ApiType,
  type ApiConfigSourceSchema,
  ApiVersion,
} from '../api/envoy/config/core/v3/config_source_pb.js'
import type { SocketOptionSchema } from '../api/envoy/config/core/v3/socket_option_pb.js'
import type { ListenerSchema } from '../api/envoy/config/listener/v3/listener_pb.js'
import { StatsMatcherSchema } from '../api/envoy/config/metrics/v3/stats_pb.js'
import { DynamicModuleAccessLogSchema } from '../api/envoy/extensions/access_loggers/dynamic_modules/v3/dynamic_modules_pb.js'
import { OpenTelemetryAccessLogConfigSchema } from '../api/envoy/extensions/access_loggers/open_telemetry/v3/logs_service_pb.js'
import { DynamicModuleFilterSchema } from '../api/envoy/extensions/filters/http/dynamic_modules/v3/dynamic_modules_pb.js'
import { HealthCheckSchema } from '../api/envoy/extensions/filters/http/health_check/v3/health_check_pb.js'
import { LocalRateLimitSchema } from '../api/envoy/extensions/filters/http/local_ratelimit/v3/local_rate_limit_pb.js'
import { LuaPerRouteSchema, LuaSchema } from '../api/envoy/extensions/filters/http/lua/v3/lua_pb.js'
import { RouterSchema } from '../api/envoy/extensions/filters/http/router/v3/router_pb.js'
import { ConfigSchema as HttpFilterStateSchema } from '../api/envoy/extensions/filters/http/set_filter_state/v3/set_filter_state_pb.js'
import { DynamicModuleListenerFilterSchema } from '../api/envoy/extensions/filters/listener/dynamic_modules/v3/dynamic_modules_pb.js'
import { HttpInspectorSchema } from '../api/envoy/extensions/filters/listener/http_inspector/v3/http_inspector_pb.js'
import { OriginalDstSchema } from '../api/envoy/extensions/filters/listener/original_dst/v3/original_dst_pb.js'
import { OriginalSrcSchema } from '../api/envoy/extensions/filters/listener/original_src/v3/original_src_pb.js'
import { ConfigSchema as DirectResponseSchema } from '../api/envoy/extensions/filters/network/direct_response/v3/config_pb.js'
import { DynamicModuleNetworkFilterSchema } from '../api/envoy/extensions/filters/network/dynamic_modules/v3/dynamic_modules_pb.js'
import {
  HttpConnectionManager_CodecType,
  HttpConnectionManagerSchema,
} from '../api/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.js'
import { ConfigSchema as NetworkFilterStateSchema } from '../api/envoy/extensions/filters/network/set_filter_state/v3/set_filter_state_pb.js'
import { TcpProxySchema } from '../api/envoy/extensions/filters/network/tcp_proxy/v3/tcp_proxy_pb.js'
import { HeaderMutationSchema } from '../api/envoy/extensions/http/early_header_mutation/header_mutation/v3/header_mutation_pb.js'
import { PreserveCaseFormatterConfigSchema } from '../api/envoy/extensions/http/header_formatters/preserve_case/v3/preserve_case_pb.js'
import { DynamicModulesLoadBalancerConfigSchema } from '../api/envoy/extensions/load_balancing_policies/dynamic_modules/v3/dynamic_modules_pb.js'
import { ApplicationProtocolInputSchema } from '../api/envoy/extensions/matching/common_inputs/network/v3/network_inputs_pb.js'
import { DownstreamConnectionsConfigSchema } from '../api/envoy/extensions/resource_monitors/downstream_connections/v3/downstream_connections_pb.js'
import { FixedHeapConfigSchema } from '../api/envoy/extensions/resource_monitors/fixed_heap/v3/fixed_heap_pb.js'
import { PreviousHostsPredicateSchema } from '../api/envoy/extensions/retry/host/previous_hosts/v3/previous_hosts_pb.js'
import { HttpProtocolOptionsSchema } from '../api/envoy/extensions/upstreams/http/v3/http_protocol_options_pb.js'
import { any, duration } from '../encoding.ts'
import { metadataOfConnections, mostConnections } from '../program/connections.ts'
import { metadataOfModule } from '../program/module.ts'
import { adminSocket, canarySocket, type Instance, metadataOfInstance, xdsSocket } from '../program/sockets.ts'
import { statsConfig } from '../resources/stats.ts'
import { adminCluster, adminListener, adminRuntimeLayer } from './adminlistener.ts'
import { httpRuntimeLayer } from './httpruntime.ts'
import { memoryAllocatorManager, overloadManager } from './overload.ts'

export interface BootstrapOptions {
  /** Envoy's node id: the node's name. */
  readonly node: string
  /** Envoy's node cluster. Default `lightpath`. */
  readonly cluster?: string
  /** Directory of the sockets (program/sockets.ts). Default /run/lightpath/envoy. */
  readonly sockets?: string
  /** The instance. Default 1. */
  readonly instance?: Instance
  /** The port of the admin pages, on 127.0.0.1. Default 15000; 0 lets the kernel choose. */
  readonly adminPort?: number
  /** SO_MARK of Envoy's own connections, by which the kernel layer leaves them alone (CAP_NET_ADMIN); 0 for none. Default 0x1000. */
  readonly mark?: number
  /** preserve: Envoy's connections have local ports from 61000 up (Linux 6.3). Default forwarded-for. */
  readonly clientAddress?: ClientAddress
  /** Whether this Envoy finds the module (program/module.ts). Default false. */
  readonly hasModule?: boolean
  /** How much of its heap Envoy may have in use (overload.ts). Default 2 GiB. */
  readonly heapBytes?: number
}

const bootstrapDefaults = {
  cluster: 'lightpath',
  sockets: '/run/lightpath/envoy',
  instance: 1,
  adminPort: 15000,
  mark: 0x1000,
  clientAddress: 'forwarded-for',
  heapBytes: 2 * 1024 ** 3,
  hasModule: false,
} as const satisfies Omit<BootstrapOptions, 'node'>

type Options = Required<BootstrapOptions>
type Listener = MessageInitShape<typeof ListenerSchema>

export function bootstrap(given: BootstrapOptions): Bootstrap {
  const options: Options = { ...bootstrapDefaults, ...given, heapBytes: given.heapBytes ?? bootstrapDefaults.heapBytes }
  const admin = adminSocket({ directory: options.sockets }, options.instance).path
  const pages = { port: options.adminPort, socket: admin }
  return create(BootstrapSchema, {
    node: { id: options.node, cluster: options.cluster, metadata: metadataOf(options) },
    admin: { address: pipeAddress(admin, socketMode) },
    dynamicResources: { adsConfig, cdsConfig: fromAds, ldsConfig: fromAds },
    staticResources: {
      clusters: [xdsCluster(options), adminCluster(pages)],
      listeners: [canaryListener(options), adminListener(pages)],
    },
    clusterManager: { upstreamBindConfig: bindConfig(options) },
    statsConfig,
    overloadManager: overloadManager(options.heapBytes),
    memoryAllocatorManager,
    watchdogs: { mainThreadWatchdog: watchdog, workerWatchdog: watchdog },
    layeredRuntime: { layers: [adminRuntimeLayer, httpRuntimeLayer, peoplesRuntimeLayer] },
    // A cluster's statistics exist from its first connection on.
    deferredStatOptions: { enableDeferredCreationStats: true },
  })
}

/**
 * How long a thread may stand still until that is counted, which Lightpath does not read: so long that no thread wakes
 * for it. With the defaults (200 ms, 1 s) each wakes ten times a second, which is half of what an Envoy without work
 * does.
 */
const watchdog = { missTimeout: duration(3600e3), megamissTimeout: duration(3600e3) }

/** An operator may set these for a while (POST /runtime_modify on the admin socket). */
const peoplesRuntimeLayer = { name: 'admin', layerSpecifier: { case: 'adminLayer', value: {} } } as const

/** The agent is in the group of Envoy's user. */
const socketMode = 0o660

/** Envoy's first request carries this to the agent (xds/server.ts): where it answers, and whether both fit. */
function metadataOf({ clientAddress, instance, adminPort, hasModule }: Options): JsonObject {
  return {
    ...metadataOfInstance(instance),
    ...metadataOfModule(hasModule),
    ...metadataOfConnections(mostConnections),
    // images/envoy-start changes this in the text of the file.
    'lightpath.cloud/admin-port': String(adminPort),
    ...(clientAddress === 'preserve' ? { [clientAddressKey]: clientAddress } : {}),
  }
}

/** The bootstrap as Envoy reads it from a file. */
export function bootstrapJson(bootstrap: Bootstrap): JsonObject {
  return toJson(BootstrapSchema, bootstrap, { registry }) as JsonObject
}

/** The message types inside the Anys of a bootstrap, and of the resources that staticBootstrap puts into one. */
const registry = createRegistry(
  ApplicationProtocolInputSchema,
  DirectResponseSchema,
  DownstreamConnectionsConfigSchema,
  DynamicModuleAccessLogSchema,
  DynamicModulesLoadBalancerConfigSchema,
  DynamicModuleFilterSchema,
  DynamicModuleListenerFilterSchema,
  DynamicModuleNetworkFilterSchema,
  FixedHeapConfigSchema,
  HeaderMutationSchema,
  HealthCheckSchema,
  HttpConnectionManagerSchema,
  HttpFilterStateSchema,
  HttpInspectorSchema,
  HttpProtocolOptionsSchema,
  LocalRateLimitSchema,
  LuaPerRouteSchema,
  LuaSchema,
  NetworkFilterStateSchema,
  OpenTelemetryAccessLogConfigSchema,
  OriginalDstSchema,
  OriginalSrcSchema,
  PreserveCaseFormatterConfigSchema,
  PreviousHostsPredicateSchema,
  RouterSchema,
  StatsMatcherSchema,
  StringValueSchema,
  TcpProxySchema,
)

const adsConfig: MessageInitShape<typeof ApiConfigSourceSchema> = {
  apiType: ApiConfigSource_ApiType.DELTA_GRPC,
  transportApiVersion: ApiVersion.V3,
  setNodeOnFirstMessageOnly: true,
  grpcServices: [
    {
      targetSpecifier: {
        case: 'envoyGrpc',
        value: {
          clusterName: xdsClusterName,
          // The pause between tries to reach an agent that is away (default up to 30 s).
          retryPolicy: { retryBackOff: { baseInterval: duration(500), maxInterval: duration(2000) } },
        },
      },
    },
  ],
}

/** How much may be under way to the agent: xDS, and parts of the access log of 64 KiB, which wait for a busy agent. */
const mostRequests = 64

function xdsCluster({ sockets }: Options): MessageInitShape<typeof ClusterSchema> {
  const endpoint = {
    hostIdentifier: { case: 'endpoint', value: { address: pipeAddress(xdsSocket(sockets)) } },
  } as const
  return {
    name: xdsClusterName,
    clusterDiscoveryType: { case: 'type', value: Cluster_DiscoveryType.STATIC },
    connectTimeout: duration(1000),
    loadAssignment: { clusterName: xdsClusterName, endpoints: [{ lbEndpoints: [endpoint] }] },
    circuitBreakers: { thresholds: [{ maxRequests: mostRequests }] },
    typedExtensionProtocolOptions: {
      'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': any(HttpProtocolOptionsSchema, {
        upstreamProtocolOptions: {
          case: 'explicitHttpConfig',
          value: {
            protocolConfig: {
              case: 'http2ProtocolOptions',
              // Envoy leaves an agent that hangs with its socket open after 40 s.
              value: { connectionKeepalive: { interval: duration(30e3), timeout: duration(10e3) } },
            },
          },
        },
      }),
    },
    upstreamBindConfig: {},
  }
}

/** Answers 200, and 503 after `POST /healthcheck/fail`, by which the agent knows that this Envoy is about to end. */
function canaryListener({ sockets, instance }: Options): Listener {
  const path = {
    name: ':path',
    headerMatchSpecifier: { case: 'presentMatch', value: true },
  } as const
  const manager = any(HttpConnectionManagerSchema, {
    codecType: HttpConnectionManager_CodecType.HTTP1,
    statPrefix: 'canary',
    httpFilters: [
      {
        name: 'envoy.filters.http.health_check',
        configType: {
          case: 'typedConfig',
          value: any(HealthCheckSchema, { passThroughMode: false, headers: [path] }),
        },
      },
      {
        name: 'envoy.filters.http.router',
        configType: { case: 'typedConfig', value: any(RouterSchema, {}) },
      },
    ],
    routeSpecifier: { case: 'routeConfig', value: { name: 'canary' } },
  })
  return {
    name: 'canary',
    address: pipeAddress(canarySocket({ directory: sockets }, instance).path, socketMode),
    filterChains: [
      {
        name: 'canary',
        filters: [
          {
            name: 'envoy.filters.network.http_connection_manager',
            configType: { case: 'typedConfig', value: manager },
          },
        ],
      },
    ],
  }
}

const SOL_IP = 0n
const SOL_SOCKET = 1n
const SO_MARK = 36n
const IP_LOCAL_PORT_RANGE = 51n

/**
 * Local ports above those that Linux gives by default: a client may have a connection of its own to the same endpoint.
 * They count where the node's net.ipv4.ip_local_port_range goes so far; elsewhere Linux takes the node's range.
 */
const clientAddressPorts = new Uint8Array(new Uint16Array([firstOwnPort, 65535]).buffer)

function bindConfig({ mark, clientAddress }: Options): MessageInitShape<typeof BindConfigSchema> | undefined {
  const socketOptions: MessageInitShape<typeof SocketOptionSchema>[] = []
  if (mark !== 0) {
    const value = { case: 'intValue', value: BigInt(mark) } as const
    socketOptions.push({ description: 'mark', level: SOL_SOCKET, name: SO_MARK, value })
  }
  if (clientAddress === 'preserve') {
    const value = { case: 'bufValue', value: clientAddressPorts } as const
    socketOptions.push({ description: 'local ports', level: SOL_IP, name: IP_LOCAL_PORT_RANGE, value })
  }
  return socketOptions.length === 0 ? undefined : { socketOptions }
}
