/**
 * Keeps metrics of how fast the endpoints of Service ports answer, where they are balanced by latency. A port has a
 * dozen series, however many endpoints it has: `lightpath explain` names the endpoints.
 */

import { Gauge, type Registry } from 'prom-client'
import { type Ranks, ranksOf, type Seen, statesOf } from './endpoint-ranks.ts'

/** The endpoints of a Service port in Envoy. */
export interface SeenPort {
  /** Its id (`namespace/name/port`). */
  readonly servicePort: string
  readonly endpoints: readonly Seen[]
  /** Those of other zones, with the setting spill-over. */
  readonly spillOver: readonly Seen[]
}

/** @param read reads all ports that Envoy balances by latency, whenever somebody asks */
export function createEndpointMetrics(registry: Registry, read: () => readonly SeenPort[]): void {
  const gauge = (name: string, help: string, labels: readonly string[], collect: (gauge: Gauge) => void) =>
    new Gauge({
      name,
      help,
      registers: [registry],
      labelNames: ['service_port', ...labels],
      collect() {
        this.reset()
        collect(this)
      },
    })
  const ranked = (name: string, help: string, ranks: (port: SeenPort) => Ranks | undefined) =>
    gauge(name, help, ['quantile'], all => {
      for (const port of read())
        for (const [quantile, value] of Object.entries(ranks(port) ?? {}))
          all.set({ service_port: port.servicePort, quantile }, value)
    })

  ranked(
    'lightpath_endpoint_latency_seconds',
    'Estimates of how long endpoints take to answer, by Service port: the fastest (0), the middle one and the slowest (1).',
    ({ endpoints }) => ranksOf(endpoints.flatMap(({ ms }) => (ms === undefined ? [] : ms / 1000))),
  )
  ranked(
    'lightpath_endpoint_share_ratio',
    "Endpoints' shares of their Service port's requests as a part of the even share: the least (0), the middle one, the most (1).",
    ({ endpoints }) => ranksOf(evenShares(endpoints)),
  )
  gauge(
    'lightpath_latency_endpoints',
    'Endpoints by Service port and what balancing by latency makes of them: even, slow, failing or unknown.',
    ['state'],
    all => {
      for (const { servicePort, endpoints } of read())
        for (const [state, count] of Object.entries(statesOf(endpoints)))
          all.set({ service_port: servicePort, state }, count)
    },
  )
  gauge(
    'lightpath_spill_over_ratio',
    "The part of a Service port's requests that went to other zones' endpoints, with the setting spill-over.",
    [],
    all => {
      for (const { servicePort, endpoints, spillOver } of read()) {
        const [here, there] = [requestsOf(endpoints), requestsOf(spillOver)]
        if (spillOver.length > 0 && here + there > 0) all.set({ service_port: servicePort }, there / (here + there))
      }
    },
  )
}

function requestsOf(endpoints: readonly Seen[]): number {
  return endpoints.reduce((sum, { requests }) => sum + requests, 0)
}

/** 1 is as much as if all had got as much as the others; empty without requests. */
function evenShares(endpoints: readonly Seen[]): readonly number[] {
  const all = requestsOf(endpoints)
  return all === 0 ? [] : endpoints.map(({ requests }) => (requests / all) * endpoints.length)
}
