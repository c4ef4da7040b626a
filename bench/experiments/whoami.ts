import { measureServices } from '../measure/services.ts'
import { experiment } from '../runner/experiment.ts'

const all = {
  variants: ['nftables', 'iptables', 'roundRobin', 'leastRequest', 'kernel', 'pod'],
  rate: 100,
  connections: 4,
} as const

export const whoami = experiment({
  name: 'whoami',
  title: 'One small Service, by its number of endpoints',
  shows: `100 requests/s to a server that does nothing, as in the thesis, which had p50 0.6 ms and p99 1.0 to 1.6 ms behind kube-proxy,
and 0.73 to 0.76 and about 2 ms behind Lightpath. This is what a hop through Envoy costs where it gains nothing.`,
  minutes: { short: 1, full: 15 },
  options: {
    short: {
      ...all,
      cases: { '10 endpoints': [{ count: 10 }], '100 endpoints': [{ count: 100 }] },
      rounds: 1,
      seconds: 2,
    },
    full: {
      ...all,
      cases: { '10 endpoints': [{ count: 10 }], '100 endpoints': [{ count: 100 }], '400 endpoints': [{ count: 400 }] },
      rounds: 5,
      seconds: 10,
    },
  },
  measure: measureServices,
})
