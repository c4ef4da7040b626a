import { measureSpread } from '../../measure/graph/spread.ts'
import { experiment } from '../../runner/experiment.ts'

const all = {
  graph: 'thesis',
  variants: ['nftables', 'iptables', 'roundRobin', 'leastRequest', 'kernel', 'pod'],
  rate: 500,
} as const

export const graphSpread = experiment({
  name: 'graph-spread',
  title: 'The service graph, requests one by one',
  shows: `The same graph, and as many requests a second. Fortio's connections all begin at once, so that above twenty requests come
together, again and again, and most of each one's time is the CPU time of the others. Here the connections take turns
(\`-uniform\`).`,
  minutes: { short: 0.4, full: 7 },
  options: {
    short: { ...all, variants: ['nftables', 'leastRequest', 'pod'], rounds: 1, seconds: 2 },
    full: { ...all, rounds: 3, seconds: 20 },
  },
  measure: measureSpread,
})
