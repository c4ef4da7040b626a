import { measureShares } from '../../measure/shares.ts'
import { experiment } from '../../runner/experiment.ts'

const all = {
  variants: ['nftables', 'iptables', 'roundRobin', 'leastRequest'],
  endpoints: 10,
  connections: 50,
  rate: 500,
} as const

export const keepAlive = experiment({
  name: 'keep-alive',
  title: 'Clients that keep their connections',
  shows: 'Each endpoint’s share of the requests: of HTTP on 50 keep-alive connections, and of gRPC on one connection.',
  minutes: { short: 0.9, full: 12 },
  options: { short: { ...all, rounds: 1, seconds: 3 }, full: { ...all, rounds: 5, seconds: 15 } },
  measure: measureShares,
})
