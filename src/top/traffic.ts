/** Computes what happened between two samples, for each second; of several nodes, their sum. Pure. */

import type { Counters } from './counters.ts'
import { noConnections } from './flows.ts'
import { quantile } from './latency.ts'
import { portKey } from './portkey.ts'
import type { Sample } from './sample.ts'

/**
 * The traffic of a Service port. Where no Envoy serves it, nobody counts requests: then all of them are 0, and
 * connections show how it is.
 */
export interface PortTraffic {
  readonly namespace: string
  readonly service: string
  readonly port: string
  /** `mixed`: not the same for both IP families, or on all nodes. */
  readonly layer: 'envoy' | 'kernel' | 'kube-proxy' | 'mixed'
  readonly requestsPerSecond: number
  /** Answers with a status from 500 up, and connections that an endpoint refused. */
  readonly errorsPerSecond: number
  readonly retriesPerSecond: number
  readonly ejectionsPerSecond: number
  readonly connectionsToEndpointsPerSecond: number
  /** Now. */
  readonly ejectedEndpoints: number
  readonly activeRequests: number
  /** Open TCP connections of clients, and those of them that the kernel pins to one endpoint. */
  readonly connections: number
  readonly pinnedConnections: number
  readonly latency: Latency
  /** The busiest first. */
  readonly endpoints: readonly EndpointTraffic[]
}

/** Over the last six seconds, where there are so many: Envoy updates it every five. */
interface Latency {
  /** Seconds; absent where nothing was answered. */
  readonly p50?: number
  readonly p99?: number
  /** Answers a second that took no longer, by upper bound in seconds. */
  readonly perSecond: Readonly<Record<string, number>>
}

interface EndpointTraffic {
  readonly address: string
  /** Answers of Envoy. */
  readonly requestsPerSecond: number
  readonly pinnedConnections: number
  /** Seconds until the first byte of an answer, as Envoy estimates it where it balances by latency. */
  readonly answersIn?: number
}

/**
 * Computes the traffic of all Service ports that the node knows, the busiest first.
 *
 * @param earlier for latency, which Envoy updates less often
 */
export function trafficBetween(before: Sample, after: Sample, earlier = before): readonly PortTraffic[] {
  const seconds = after.at - before.at
  const perSecond = (now: number, then: number | undefined) => rate(now, then, seconds)
  const ports = [...after.ports].map(([key, frontends]): PortTraffic => {
    const { namespace, service, port, layer } = frontends[0]!
    const [then, now] = [before.counters.get(key), after.counters.get(key)]
    const counted = (name: Exclude<keyof Counters, 'latency'>) => perSecond(now?.[name] ?? 0, then?.[name])
    const { open, pinned } = after.connections.get(key) ?? noConnections
    const buckets = Object.entries(now?.latency ?? {}).map(
      ([bound, count]) =>
        [bound, rate(count, earlier.counters.get(key)?.latency[bound], after.at - earlier.at)] as const,
    )
    const known = before.endpoints.get(key)
    const requests = known && after.endpoints.get(key)
    const addresses = new Set([...(requests?.keys() ?? []), ...pinned.keys()])
    return {
      namespace,
      service,
      port,
      layer: frontends.every(other => other.layer === layer) ? layer : 'mixed',
      requestsPerSecond: counted('answers'),
      errorsPerSecond: counted('errors') + counted('connectFailures'),
      retriesPerSecond: counted('retries'),
      ejectionsPerSecond: counted('ejections'),
      connectionsToEndpointsPerSecond: counted('connections'),
      ejectedEndpoints: now?.ejected ?? 0,
      activeRequests: now?.active ?? 0,
      connections: open,
      pinnedConnections: [...pinned.values()].reduce((sum, count) => sum + count, 0),
      latency: latencyOf(Object.fromEntries(buckets)),
      endpoints: [...addresses]
        .map(address => ({
          address,
          requestsPerSecond: perSecond(requests?.get(address) ?? 0, known?.get(address)),
          pinnedConnections: pinned.get(address) ?? 0,
          ...estimate(after.speeds.get(address)),
        }))
        .sort(busierEndpoint),
    }
  })
  return ports.sort(busier)
}

/** Adds up the traffic of the same Service ports on several nodes. */
export function sumOf(nodes: readonly (readonly PortTraffic[])[]): readonly PortTraffic[] {
  const same = Map.groupBy(nodes.flat(), portKey)
  const sums = [...same.values()].map(parts => ({ ...parts.reduce(added), endpoints: endpointsOf(parts) }))
  return sums.sort(busier)
}

/** All but the endpoints, which are those of `a`. */
function added(a: PortTraffic, b: PortTraffic): PortTraffic {
  return {
    namespace: a.namespace,
    service: a.service,
    port: a.port,
    layer: a.layer === b.layer ? a.layer : 'mixed',
    requestsPerSecond: a.requestsPerSecond + b.requestsPerSecond,
    errorsPerSecond: a.errorsPerSecond + b.errorsPerSecond,
    retriesPerSecond: a.retriesPerSecond + b.retriesPerSecond,
    ejectionsPerSecond: a.ejectionsPerSecond + b.ejectionsPerSecond,
    connectionsToEndpointsPerSecond: a.connectionsToEndpointsPerSecond + b.connectionsToEndpointsPerSecond,
    ejectedEndpoints: Math.max(a.ejectedEndpoints, b.ejectedEndpoints),
    activeRequests: a.activeRequests + b.activeRequests,
    connections: a.connections + b.connections,
    pinnedConnections: a.pinnedConnections + b.pinnedConnections,
    latency: latencyOf(addedByName(a.latency.perSecond, b.latency.perSecond)),
    endpoints: a.endpoints,
  }
}

function endpointsOf(ports: readonly PortTraffic[]): readonly EndpointTraffic[] {
  const same = Map.groupBy(
    ports.flatMap(({ endpoints }) => endpoints),
    ({ address }) => address,
  )
  const sums = [...same].map(([address, parts]) => ({
    address,
    requestsPerSecond: parts.reduce((sum, part) => sum + part.requestsPerSecond, 0),
    pinnedConnections: parts.reduce((sum, part) => sum + part.pinnedConnections, 0),
    ...estimate(meanOf(parts)),
  }))
  return sums.sort(busierEndpoint)
}

function estimate(answersIn: number | undefined): Pick<EndpointTraffic, 'answersIn'> {
  return answersIn === undefined ? {} : { answersIn }
}

/** The mean of the nodes' estimates; undefined without any. */
function meanOf(parts: readonly EndpointTraffic[]): number | undefined {
  const known = parts.flatMap(({ answersIn }) => answersIn ?? [])
  return known.length === 0 ? undefined : known.reduce((sum, one) => sum + one, 0) / known.length
}

function addedByName(a: Readonly<Record<string, number>>, b: Readonly<Record<string, number>>) {
  const names = new Set([...Object.keys(a), ...Object.keys(b)])
  return Object.fromEntries([...names].map(name => [name, (a[name] ?? 0) + (b[name] ?? 0)]))
}

/** Where an Envoy has ended, with all its counters, nothing is known of that time. */
function rate(now: number, then: number | undefined, seconds: number): number {
  return Math.max(0, now - (then ?? 0)) / seconds
}

function latencyOf(perSecond: Latency['perSecond']): Latency {
  return { p50: quantile(perSecond, 0.5), p99: quantile(perSecond, 0.99), perSecond }
}

function busier(a: PortTraffic, b: PortTraffic): number {
  return (
    b.requestsPerSecond - a.requestsPerSecond ||
    b.connections - a.connections ||
    portKey(a).localeCompare(portKey(b), 'en')
  )
}

function busierEndpoint(a: EndpointTraffic, b: EndpointTraffic): number {
  return (
    b.requestsPerSecond - a.requestsPerSecond ||
    b.pinnedConnections - a.pinnedConnections ||
    a.address.localeCompare(b.address, 'en')
  )
}
