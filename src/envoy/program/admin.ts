/**
 * Asks Envoy's admin interface about Service ports. Each question asks for no more than its answer needs, and has
 * limits of time and size; an Envoy that does not answer is no error.
 * https://www.envoyproxy.io/docs/envoy/v1.40.0/operations/admin
 */

import type { IncomingMessage } from 'node:http'
import { hostPort } from '../../net/address.ts'
import { get } from '../../observe/http/plainhttp.ts'
import { connectUnix } from '../../observe/http/unixsocket.ts'
import { isTurnOver, nextTurn } from '../../worker/turns.ts'
import { metricsFilter, statsNameOf } from '../resources/stats.ts'
import type { UnixAddress } from './sockets.ts'

export interface EndpointHealth {
  /** Whether outlier detection has ejected it for now. */
  readonly ejected: boolean
  readonly healthy: boolean
}

const timeoutMs = 2000
/** The time-out of pages with everything in them, which take Envoy seconds. */
const longTimeoutMs = 20_000
/** 10,000 Service ports with all their statistics are 40 MB. An answer beyond this is dropped: better none than half of one. */
const maxBytes = 128 * 1024 * 1024

/** Whether Envoy serves: it has what it needs to start, and does not drain. */
export async function isReady(socket: UnixAddress): Promise<boolean> {
  return (await ask(socket, '/ready', {})) !== undefined
}

/** Reads a page for people, such as `/config_dump`; undefined where Envoy does not answer. */
export function adminPage(socket: UnixAddress, path: string): Promise<string | undefined> {
  const { pathname, searchParams } = new URL(path, 'http://envoy')
  return ask(socket, pathname, Object.fromEntries(searchParams), longTimeoutMs)
}

/**
 * Reads from each Envoy the statistics of Service ports for metrics (resources/stats.ts), in Prometheus' format; ''
 * where it does not answer.
 *
 * @param service `namespace` or `namespace/name`; undefined for all
 */
export function statsTexts(sockets: readonly UnixAddress[], service?: string): Promise<readonly string[]> {
  const query = { usedonly: '', filter: metricsFilter(service) }
  return Promise.all(sockets.map(async socket => (await ask(socket, '/stats/prometheus', query)) ?? ''))
}

/** What goes on in all Envoys together; 0 for what none of them knows. */
export interface Activity {
  /** Open connections of a listener by name (`10.0.0.1:80`). */
  readonly connections: (listener: string) => number
  /** Requests that endpoints of the cluster with this id have not answered yet. */
  readonly requests: (cluster: string) => number
  /** Answers of the cluster so far, Envoy's own among them; of these hundreds, all by default. */
  readonly answers: (cluster: string, hundreds?: readonly number[]) => number
}

/** Reads the activity; undefined where one of them does not answer. */
export async function readActivity(sockets: readonly UnixAddress[]): Promise<Activity | undefined> {
  const filter = '^(listener\\..*\\.downstream_cx_active|cluster\\..*/.*\\.upstream_rq_(active|[1-5]xx))$'
  const answers = await Promise.all(sockets.map(socket => ask(socket, '/stats', { usedonly: '', filter })))
  if (answers.includes(undefined)) return undefined
  const each = answers.map(answer => new Map(answer!.split('\n').map(line => line.split(': ') as [string, string])))
  const count = (name: string) => each.reduce((sum, open) => sum + Number(open.get(name) ?? 0), 0)
  return {
    connections: listener => count(`${statsNameOf(listener)}.downstream_cx_active`),
    requests: cluster => count(`cluster.${cluster}.upstream_rq_active`),
    answers: (cluster, hundreds = [1, 2, 3, 4, 5]) =>
      hundreds.reduce((sum, kind) => sum + count(`cluster.${cluster}.upstream_rq_${kind}xx`), 0),
  }
}

/** What a frontend's connections to endpoints show, since Envoy knows it. */
export interface ConnectionCounts {
  readonly opened: number
  /** Those of them that speak HTTP/2. */
  readonly http2: number
  /** Ended by Envoy's idle time-out. */
  readonly byTimeout: number
  /** Ended by endpoints. */
  readonly byEndpoint: number
  /** Endpoints that Envoy has ejected now. */
  readonly ejected: number
}

const connectionCounts = {
  upstream_cx_total: 'opened',
  upstream_cx_http2_total: 'http2',
  upstream_cx_idle_timeout: 'byTimeout',
  upstream_cx_destroy_remote: 'byEndpoint',
  'outlier_detection.ejections_active': 'ejected',
} as const satisfies Readonly<Record<string, keyof ConnectionCounts>>

/**
 * Reads counts of connections by frontend, the Envoys taken together, in turns of the event loop; undefined where one
 * does not answer.
 */
export async function readConnectionCounts(
  sockets: readonly UnixAddress[],
): Promise<ReadonlyMap<string, ConnectionCounts> | undefined> {
  const names = Object.keys(connectionCounts).join('|').replaceAll('.', '\\.')
  const query = { usedonly: '', filter: `^cluster\\..*/.*\\.(${names})$` }
  const answers = await Promise.all(sockets.map(socket => ask(socket, '/stats', query)))
  const found = new Map<string, Record<keyof ConnectionCounts, number>>()
  for (const answer of answers) {
    if (answer === undefined) return undefined
    for (const [, id = '', name, count] of answer.matchAll(/^cluster\.([^.\n]+)\.([\w.]+): (\d+)$/gm)) {
      if (isTurnOver()) await nextTurn()
      const counts = found.get(id) ?? { opened: 0, http2: 0, byTimeout: 0, byEndpoint: 0, ejected: 0 }
      counts[connectionCounts[name as keyof typeof connectionCounts]] += Number(count)
      found.set(id, counts)
    }
  }
  return found
}

/**
 * Health by `address:port` of this cluster's endpoints, the worst that an Envoy reports; empty where none answers or
 * knows it.
 */
export async function endpointHealth(
  sockets: readonly UnixAddress[],
  cluster: string,
): Promise<Readonly<Record<string, EndpointHealth>>> {
  const worst: Record<string, EndpointHealth> = {}
  for (const health of await Promise.all(sockets.map(socket => healthIn(socket, cluster)))) {
    for (const [endpoint, { ejected, healthy }] of Object.entries(health)) {
      const before = worst[endpoint] ?? { ejected, healthy }
      worst[endpoint] = { ejected: before.ejected || ejected, healthy: before.healthy && healthy }
    }
  }
  return worst
}

/** Loads by endpoint, as `hostPort` writes it. */
export type EndpointLoads = ReadonlyMap<string, EndpointLoad>

/** Counted since Envoy knows the endpoint; each try counts. */
export interface EndpointLoad {
  /** Requests that it was given; for tcp and redis ports, connections. */
  readonly given: number
  /** Requests that are over. */
  readonly requests: number
  /** Those of them that failed. */
  readonly errors: number
}

const noLoad: EndpointLoad = { given: 0, requests: 0, errors: 0 }

/** Reads loads by the cluster's name, the Envoys taken together; without clusters that none knows. */
export async function endpointLoads(
  sockets: readonly UnixAddress[],
  names: readonly string[],
): Promise<ReadonlyMap<string, EndpointLoads>> {
  const found = new Map<string, Map<string, EndpointLoad>>()
  if (names.length === 0) return found
  const answers = await Promise.all(sockets.map(socket => clustersIn(socket, names)))
  for (const { name, host_statuses: hosts = [] } of answers.flat()) {
    const endpoints = found.get(name) ?? new Map<string, EndpointLoad>()
    found.set(name, endpoints)
    for (const { address, stats = [] } of hosts) {
      const endpoint = endpointOf(address)
      const { given, requests, errors } = endpoints.get(endpoint) ?? noLoad
      const count = (stat: string) => Number(stats.find(({ name }) => name === stat)?.value ?? 0)
      const failed = count('rq_error')
      endpoints.set(endpoint, {
        given: given + count('rq_total'),
        requests: requests + count('rq_success') + failed,
        errors: errors + failed,
      })
    }
  }
  return found
}

async function clustersIn(socket: UnixAddress, names: readonly string[]): Promise<readonly ClusterStatus[]> {
  const filter = `^(${names.map(name => `\\Q${name}\\E`).join('|')})$`
  const answer = await ask(socket, '/clusters', { format: 'json', filter })
  return (JSON.parse(answer ?? '{}') as ClustersAnswer).cluster_statuses ?? []
}

function endpointOf({ socket_address: at }: HostAddress): string {
  return hostPort(at.address, at.port_value)
}

async function healthIn(socket: UnixAddress, cluster: string): Promise<Readonly<Record<string, EndpointHealth>>> {
  const clusters = await clustersIn(socket, [cluster])
  return Object.fromEntries(
    clusters
      .flatMap(({ host_statuses: hosts = [] }) => hosts)
      .map(host => {
        const { failed_outlier_check: isOutlier, eds_health_status: health } = host.health_status
        // EDS carries the agent's own ejections.
        const ejected = isOutlier === true || health === 'UNHEALTHY'
        return [endpointOf(host.address), { ejected, healthy: !ejected && health === 'HEALTHY' }]
      }),
  )
}

/** envoy.admin.v3.Clusters, as far as it is read. */
interface ClustersAnswer {
  readonly cluster_statuses?: readonly ClusterStatus[]
}

interface ClusterStatus {
  readonly name: string
  readonly host_statuses?: readonly HostStatus[]
}

interface HostStatus {
  readonly address: HostAddress
  readonly health_status: { readonly eds_health_status?: string; readonly failed_outlier_check?: boolean }
  /** A statistic that is 0 has no value. */
  readonly stats?: readonly { readonly name: string; readonly value?: string }[]
}

interface HostAddress {
  readonly socket_address: { readonly address: string; readonly port_value: number }
}

/** Undefined where there is no whole answer with status 200 in time. */
async function ask(
  { path: socketPath, users }: UnixAddress,
  path: string,
  query: Readonly<Record<string, string>>,
  limitMs = timeoutMs,
): Promise<string | undefined> {
  const signal = AbortSignal.timeout(limitMs)
  try {
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const search = new URLSearchParams(query)
      const options = { path: `${path}?${search}`, signal } as const
      const createConnection = () => connectUnix(socketPath, users)
      get({ ...options, createConnection }, resolve).on('error', reject)
    })
    if (response.statusCode !== 200) {
      response.destroy()
      return undefined
    }
    return await read(response)
  } catch {
    return undefined
  }
}

async function read(response: IncomingMessage): Promise<string | undefined> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > maxBytes) return undefined
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString()
}
