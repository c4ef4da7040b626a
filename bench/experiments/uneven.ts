import { measureServices } from '../measure/services.ts'
import { experiment } from '../runner/experiment.ts'

const slow = 'Of ten endpoints one is ten times slower'
const stalls = 'Of ten endpoints one stalls for half a second every two'
const far = 'Three endpoints are near, seven 10 ms away'
const atMost = { figure: 'p99', most: 0.3 } as const

const all = {
  cases: {
    [slow]: [
      { count: 9, delay: '5ms', workers: 4 },
      { count: 1, delay: '50ms', workers: 4 },
    ],
    [stalls]: [
      { count: 9, delay: '2ms' },
      { count: 1, delay: '2ms', stall: '500ms', every: '2s' },
    ],
    [far]: [{ count: 3 }, { count: 7, delay: '10ms' }],
  },
  variants: ['nftables', 'iptables', 'roundRobin', 'leastRequest', 'kernel'],
  rate: 300,
  connections: 20,
  aims: { of: 'leastRequest', cases: { [slow]: atMost, [stalls]: atMost, [far]: atMost } },
} as const

export const uneven = experiment({
  name: 'uneven',
  title: 'Uneven endpoints',
  shows: `Endpoints that are not alike, as on nodes that are not. The load is open-loop: requests are due at fixed times, and the time
of each counts from then. A client that waits for an answer before it asks again would leave out just the requests that a stall
holds up.`,
  minutes: { short: 3, full: 27 },
  options: { short: { ...all, rounds: 1, seconds: 6 }, full: { ...all, rounds: 5, seconds: 20 } },
  measure: measureServices,
})
