import { measureServices } from '../measure/services.ts'
import { experiment } from '../runner/experiment.ts'

const even = 'Ten endpoints are alike'
const slow = 'Of ten endpoints one is ten times slower'
const stalls = 'Of ten endpoints one stalls for half a second every four'
const far = 'Three endpoints are near, seven 20 ms away'

const all = {
  cases: {
    [even]: [{ count: 10, delay: '4ms' }],
    [slow]: [
      { count: 9, delay: '4ms' },
      { count: 1, delay: '40ms' },
    ],
    [stalls]: [
      { count: 9, delay: '4ms' },
      { count: 1, delay: '4ms', stall: '500ms', every: '4s' },
    ],
    [far]: [
      { count: 3, delay: '4ms' },
      { count: 7, delay: '24ms' },
    ],
  },
  variants: ['leastRequest', 'peakEwma'],
  base: 'leastRequest',
  aims: {
    of: 'peakEwma',
    cases: {
      [even]: { figure: 'mean', most: 1.05 },
      [slow]: { figure: 'p99', most: 0.3 },
      [stalls]: { figure: 'p99.9', most: 0.1 },
      [far]: { figure: 'mean', most: 0.35 },
    },
  },
  rate: 150,
  connections: 20,
} as const

export const latency = experiment({
  name: 'latency',
  title: 'Balancing by latency',
  shows: `PEAK_EWMA beside LEAST_REQUEST, on the same endpoints and in turns. A round's ratio is of two loads that follow each other.`,
  minutes: { short: 2, full: 16 },
  options: { short: { ...all, rounds: 1, seconds: 8 }, full: { ...all, rounds: 5, seconds: 20 } },
  measure: measureServices,
})
