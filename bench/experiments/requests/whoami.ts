import type { Case } from '../../measure/services/case.ts'
import { measureServices } from '../../measure/services/measure.ts'
import { experiment } from '../../runner/experiment.ts'

function ofEndpoints(...counts: readonly number[]): Readonly<Record<string, Case>> {
  const all = {
    variants: ['nftables', 'iptables', 'roundRobin', 'leastRequest', 'kernel', 'pod'],
    base: 'nftables',
    rate: 100,
    connections: 4,
  } as const
  return Object.fromEntries(counts.map(count => [`${count} endpoints`, { ...all, endpoints: [{ count }] }]))
}

export const whoami = experiment({
  name: 'whoami',
  title: 'One small Service, by its number of endpoints',
  shows: `100 requests/s to a server that does nothing, as in the thesis, which had p50 0.6 ms and p99 1.0 to 1.6 ms behind kube-proxy,
and 0.73 to 0.76 and about 2 ms behind Lightpath. This is what a hop through Envoy costs where it gains nothing.`,
  minutes: { short: 0.9, full: 17 },
  options: {
    short: { cases: ofEndpoints(10, 100), rounds: 1, seconds: 2 },
    full: { cases: ofEndpoints(10, 100, 400), rounds: 5, seconds: 10 },
  },
  measure: measureServices,
})
