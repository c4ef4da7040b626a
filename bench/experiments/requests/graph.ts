import { measureRates } from '../../measure/graph/rates.ts'
import { experiment } from '../../runner/experiment.ts'

const all = {
  graph: 'thesis',
  variants: ['nftables', 'iptables', 'roundRobin', 'leastRequest', 'kernel', 'pod'],
  compared: ['nftables', 'roundRobin', 'leastRequest'],
} as const

export const graph = experiment({
  name: 'graph',
  title: 'The service graph of the thesis, at rising rates',
  shows: `gateway → (svc1 → svc3 ∥ svc2 → (svc4 ∥ svc5 → svc6)), two endpoints each, 16 KiB in each request and each answer. Every
call between services goes through what is compared: seven a request. Load by Fortio, as in the thesis: 20 connections, jitter.
These begin at once, so that twenty requests come together, again and again, and most of each one's time is the CPU time of the
others: on so few cores the aims would need an Envoy that costs less than nothing.`,
  minutes: { short: 1.4, full: 26 },
  options: {
    short: { ...all, rounds: 1, seconds: 2 },
    full: { ...all, rounds: 3, seconds: 20 },
  },
  measure: measureRates,
})
