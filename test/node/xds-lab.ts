/** A real Envoy on loopback that takes everything from an xDS server, small resources for it, and what the server saw. */

import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf'
import { type Any, anyPack } from '@bufbuild/protobuf/wkt'
import { fromAds } from '../../src/envoy/ads.ts'
import {
  Cluster_DiscoveryType,
  type Cluster_LbPolicy,
  ClusterSchema,
} from '../../src/envoy/api/envoy/config/cluster/v3/cluster_pb.js'
import { ClusterLoadAssignmentSchema } from '../../src/envoy/api/envoy/config/endpoint/v3/endpoint_pb.js'
import { ListenerSchema } from '../../src/envoy/api/envoy/config/listener/v3/listener_pb.js'
import { RouteConfigurationSchema } from '../../src/envoy/api/envoy/config/route/v3/route_pb.js'
import { RouterSchema } from '../../src/envoy/api/envoy/extensions/filters/http/router/v3/router_pb.js'
import { HttpConnectionManagerSchema } from '../../src/envoy/api/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.js'
import { TcpProxySchema } from '../../src/envoy/api/envoy/extensions/filters/network/tcp_proxy/v3/tcp_proxy_pb.js'
import { scopedRouteConfiguration, scopedRoutes } from '../../src/envoy/protocols/httpscopes.ts'
import { backing, type Resource, type ResourceRef, refKey, typeUrls } from '../../src/envoy/resource.ts'
import type { Nack, VersionedRef } from '../../src/xds/client/messages.ts'
import { startXdsServer, type XdsServer } from '../../src/xds/server.ts'
import type { ClientInfo } from '../../src/xds/session.ts'
import { ResourceStore } from '../../src/xds/store.ts'

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

/** An xDS server with its store, and everything that its observer heard. */
export class XdsLab {
  readonly store = new ResourceStore()
  readonly clients: ClientInfo[] = []
  readonly disconnected = new Set<number>()
  readonly acknowledged: (VersionedRef & { readonly client: number })[] = []
  readonly gone: (ResourceRef & { readonly client: number })[] = []
  readonly nacks: (Nack & { readonly client: number })[] = []
  /** What was acknowledged and what is gone, in the order in which that was heard. */
  readonly order: string[] = []
  readonly settled: number[] = []
  readonly log: string[] = []
  readonly #directory = mkdtempSync(join(tmpdir(), 'lightpath-xds-server-'))
  /** Of the server's socket. */
  readonly path = join(this.#directory, 'xds.sock')
  #server: XdsServer | undefined

  get server(): XdsServer {
    if (!this.#server) throw new Error('the xDS server is not started')
    return this.#server
  }

  async start(): Promise<void> {
    this.#server = await startXdsServer({
      storeOf: () => this.store,
      path: this.path,
      observer: {
        connected: client => this.clients.push(client),
        acknowledged: (client, resources) => {
          this.acknowledged.push(...resources.map(ref => ({ client, ...ref })))
          this.order.push(...resources.map(ref => `has ${refKey(ref)} ${ref.version}`))
        },
        gone: (client, refs) => {
          this.gone.push(...refs.map(ref => ({ client, ...ref })))
          this.order.push(...refs.map(ref => `lost ${refKey(ref)}`))
        },
        nacked: (client, nack) => this.nacks.push({ client, ...nack }),
        settled: client => this.settled.push(client),
        active: () => {},
        unknown: () => {},
        disconnected: client => this.disconnected.add(client),
      },
      log: {
        info: (fields, message) => this.log.push(`${message} ${JSON.stringify(fields)}`),
        warn: (fields, message) => this.log.push(`${message} ${JSON.stringify(fields)}`),
      },
    })
  }

  async stop(): Promise<void> {
    await this.#server?.stop()
    this.#server = undefined
  }

  async destroy(): Promise<void> {
    await this.stop()
    rmSync(this.#directory, { recursive: true })
  }

  /** Resources and removals sent so far. */
  resourcesSent(): number {
    return [...this.server.traffic.values()].reduce((sum, { resources }) => sum + resources, 0)
  }

  /** Whether the client, the newest unless told, has acknowledged this version. */
  has({ typeUrl, name, version }: VersionedRef, client = this.clients.at(-1)?.id ?? 0): boolean {
    return this.server.acknowledgedVersion(client, { typeUrl, name }) === version
  }
}

export class Envoy {
  readonly #directory = mkdtempSync(join(tmpdir(), 'lightpath-xds-'))
  readonly #process: ChildProcess
  #admin = ''

  private constructor(xdsPath: string, nodeId: string) {
    const bootstrap = join(this.#directory, 'bootstrap.json')
    writeFileSync(bootstrap, JSON.stringify(bootstrapFor(xdsPath, nodeId)))
    const log = openSync(join(this.#directory, 'log'), 'w')
    const options = ['-c', bootstrap, '--concurrency', '1', '--disable-hot-restart', '-l', 'info']
    const files = ['--admin-address-path', join(this.#directory, 'admin')]
    this.#process = spawn(envoyBinary(), [...options, ...files], { stdio: ['ignore', log, log] })
    closeSync(log)
  }

  /** Resolves when the admin interface listens. */
  static async start(xdsPath: string, nodeId = 'node1'): Promise<Envoy> {
    const envoy = new Envoy(xdsPath, nodeId)
    try {
      await until('Envoy listens', () => existsSync(join(envoy.#directory, 'admin')) && envoy.#readAdmin() !== '')
    } catch (error) {
      throw new Error(`${(error as Error).message}\n${envoy.log()}`)
    }
    return envoy
  }

  #readAdmin(): string {
    this.#admin = readFileSync(join(this.#directory, 'admin'), 'utf8').trim()
    return this.#admin
  }

  log(): string {
    return readFileSync(join(this.#directory, 'log'), 'utf8')
  }

  async get(path: string): Promise<string> {
    return (await fetch(`http://${this.#admin}${path}`)).text()
  }

  async stop(): Promise<void> {
    if (this.#process.exitCode === null && this.#process.signalCode === null) {
      const ended = new Promise(resolve => this.#process.once('exit', resolve))
      this.#process.kill('SIGKILL')
      await ended
    }
    rmSync(this.#directory, { recursive: true, force: true })
  }
}

function envoyBinary(): string {
  return process.env.ENVOY_BIN ?? join(homedir(), '.cache/lightpath/envoy-1.40.0')
}

function bootstrapFor(path: string, nodeId: string): object {
  const http2 = { explicit_http_config: { http2_protocol_options: {} } }
  const address = { pipe: { path } }
  return {
    node: { id: nodeId, cluster: 'test' },
    admin: { address: { socket_address: { address: '127.0.0.1', port_value: 0 } } },
    dynamic_resources: {
      ads_config: {
        api_type: 'DELTA_GRPC',
        transport_api_version: 'V3',
        grpc_services: [
          {
            envoy_grpc: {
              cluster_name: 'xds',
              retry_policy: { retry_back_off: { base_interval: '0.1s', max_interval: '0.2s' } },
            },
          },
        ],
      },
      cds_config: { ads: {}, resource_api_version: 'V3' },
      lds_config: { ads: {}, resource_api_version: 'V3' },
    },
    static_resources: {
      clusters: [
        {
          name: 'xds',
          type: 'STATIC',
          connect_timeout: '1s',
          typed_extension_protocol_options: {
            'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
              '@type': 'type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions',
              ...http2,
            },
          },
          load_assignment: { cluster_name: 'xds', endpoints: [{ lb_endpoints: [{ endpoint: { address } }] }] },
        },
      ],
    },
  }
}

/** Polls until the condition holds; after `seconds` it throws with the description. */
export async function until(what: string, condition: () => boolean | Promise<boolean>, seconds = 30): Promise<void> {
  for (const end = Date.now() + seconds * 1000; Date.now() < end; await sleep(20)) {
    if (await condition()) return
  }
  throw new Error(`not within ${seconds} s: ${what}`)
}
