import type { Case, Endpoints } from '../../measure/services/case.ts'
import { measureServices } from '../../measure/services/measure.ts'
import { experiment } from '../../runner/experiment.ts'

function ofEndpoints(...endpoints: readonly Endpoints[]): Case {
  return {
    endpoints,
    variants: ['nftables', 'iptables', 'roundRobin', 'leastRequest', 'peakEwma', 'kernel'],
    base: 'nftables',
    rate: 300,
    connections: 20,
    // Least request is blind here: 300 requests a second leave two or three under way, on ten endpoints.
    aims: { of: 'peakEwma', most: [{ figure: 'p99', most: 0.3 }] },
  }
}

const cases: Readonly<Record<string, Case>> = {
  'Of ten endpoints one is ten times slower': ofEndpoints(
    { count: 9, delay: '5ms', workers: 4 },
    { count: 1, delay: '50ms', workers: 4 },
  ),
  'Of ten endpoints one stalls for half a second every two': ofEndpoints(
    { count: 9, delay: '2ms' },
    { count: 1, delay: '2ms', stall: '500ms', every: '2s' },
  ),
  'Three endpoints are near, seven 10 ms away': ofEndpoints({ count: 3 }, { count: 7, delay: '10ms' }),
}

export const uneven = experiment({
  name: 'uneven',
  title: 'Uneven endpoints',
  shows: `Endpoints that are not alike, as on nodes that are not. The load is open-loop: requests are due at fixed times, and the time
of each counts from then. A client that waits for an answer before it asks again would leave out just the requests that a stall
holds up. Behind kube-proxy a stall holds up the connections to that endpoint, two of twenty, and the client goes on with the
others: fewer than one request of a hundred meets it, and p99 is that of requests that went elsewhere. The stalls are in p99.9.`,
  minutes: { short: 1.7, full: 20 },
  options: { short: { cases, rounds: 1, seconds: 4 }, full: { cases, rounds: 3, seconds: 20 } },
  measure: measureServices,
})
