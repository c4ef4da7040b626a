import { measureErrors } from '../../measure/graph/errors.ts'
import { experiment } from '../../runner/experiment.ts'

const all = {
  graph: 'thesis',
  scenario: 'errors',
  variants: ['nftables', 'roundRobin', 'leastRequest'],
  rate: 100,
} as const

export const errors = experiment({
  name: 'errors',
  title: 'The error scenario of the thesis',
  shows: `The same graph, where five of the seven services answer some requests 500. GETs by Fortio; then as many POSTs, whose bodies
are counted at the servers.`,
  minutes: { short: 0.8, full: 15 },
  options: {
    short: { ...all, rounds: 1, seconds: 5 },
    full: { ...all, rounds: 5, seconds: 25 },
  },
  measure: measureErrors,
})
