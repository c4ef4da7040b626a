/** Samples what goes on at one moment on this node: counters of its Envoys, open connections in its kernel. */

import { type EndpointLoads, endpointLoads, statsTexts } from '../envoy/program/admin.ts'
import type { EndpointLatency } from '../envoy/program/latencies.ts'
import type { UnixAddress } from '../envoy/program/sockets.ts'
import type { IpFamily } from '../net/address.ts'
import type { FrontendRow } from '../node/report/answers/frontends.ts'
import type { BelowOptions } from '../node/use/below.ts'
import { type Counters, readCounters } from './counters.ts'
import { type PortConnections, readConnections } from './flows.ts'
import { portKey } from './portkey.ts'

/** All by Service port: `namespace/service/port`. */
export interface Sample {
  /** Seconds, by a clock that only goes forward. */
  readonly at: number
  /** The rows of its IP families. */
  readonly ports: ReadonlyMap<string, readonly FrontendRow[]>
  readonly counters: ReadonlyMap<string, Counters>
  /** Requests of each endpoint since Envoy started; only of the busiest ports. */
  readonly endpoints: ReadonlyMap<string, ReadonlyMap<string, number>>
  /** Seconds in which endpoints answer, by `address:port`; of ports that are balanced by latency. */
  readonly speeds: ReadonlyMap<string, number>
  readonly connections: ReadonlyMap<string, PortConnections>
}

export interface SampleSources extends BelowOptions {
  readonly frontends: () => Promise<readonly FrontendRow[]>
  readonly adminSockets: readonly UnixAddress[]
  /** Reads what this node's Envoys have observed of these endpoints, by `hostPort`. */
  readonly latencies: (endpoints: FrontendRow['byLatency']) => ReadonlyMap<string, Pick<EndpointLatency, 'ms'>>
  readonly families: readonly IpFamily[]
  /** `namespace` or `namespace/name`; undefined for all Services. */
  readonly chosen: string | undefined
}

/** For how many ports Envoy is asked for their endpoints, which takes it some time for each. */
const mostPorts = 50

/** Rejects where the agent does not answer. Counters of an Envoy that does not answer stay as they were. */
export async function takeSample(sources: SampleSources, before: Sample | undefined): Promise<Sample> {
  const { adminSockets, families, chosen } = sources
  const isChosen = ({ namespace, service }: FrontendRow) =>
    chosen === undefined || chosen === namespace || chosen === `${namespace}/${service}`
  const frontends = (await sources.frontends()).filter(isChosen)
  const ports = Map.groupBy(frontends, portKey)
  const texts = await statsTexts(adminSockets, chosen)
  // Otherwise everything that was ever counted would seem to have happened since.
  const counters = texts.every(text => text === '') && before ? before.counters : readCounters(texts)
  const at = performance.now() / 1000
  const asked = busiest(counters, before?.counters).flatMap(key => ports.get(key) ?? [])
  const clusters = await endpointLoads(
    adminSockets,
    asked.flatMap(({ clusters }) => clusters),
  )
  const connections = await readConnections(frontends, families, sources)
  const speeds = speedsOf(sources.latencies(asked.flatMap(({ byLatency }) => byLatency)))
  return { at, ports, counters, endpoints: byPort(asked, clusters), speeds, connections }
}

function speedsOf(latencies: ReturnType<SampleSources['latencies']>): Sample['speeds'] {
  return new Map([...latencies].flatMap(([endpoint, { ms }]) => (ms === undefined ? [] : [[endpoint, ms / 1000]])))
}

function busiest(counters: Sample['counters'], before: Sample['counters'] = new Map()): readonly string[] {
  const since = (key: string, { answers, connections }: Counters) => {
    const then = before.get(key)
    return answers - (then?.answers ?? 0) + (connections - (then?.connections ?? 0))
  }
  return [...counters]
    .map(([key, now]) => ({ key, count: since(key, now) }))
    .sort((a, b) => b.count - a.count)
    .slice(0, mostPorts)
    .map(({ key }) => key)
}

function byPort(frontends: readonly FrontendRow[], loads: ReadonlyMap<string, EndpointLoads>): Sample['endpoints'] {
  const ports = new Map<string, Map<string, number>>()
  for (const frontend of frontends) {
    const sums = ports.get(portKey(frontend)) ?? new Map<string, number>()
    ports.set(portKey(frontend), sums)
    for (const cluster of frontend.clusters)
      for (const [endpoint, { given }] of loads.get(cluster) ?? [])
        sums.set(endpoint, (sums.get(endpoint) ?? 0) + given)
  }
  return ports
}
