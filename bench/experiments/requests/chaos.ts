import { measureChaos } from '../../measure/chaos.ts'
import { experiment } from '../../runner/experiment.ts'

const variants = ['nftables', 'leastRequest'] as const

export const chaos = experiment({
  name: 'chaos',
  title: 'What goes wrong',
  shows: `Steady requests while one thing goes wrong, and the same behind kube-proxy. The load is open-loop, so that all requests count
that a fault holds up. Envoy is started anew before each.`,
  minutes: { short: 2.9, full: 18 },
  options: { short: { variants, most: 2, tail: 1.5 }, full: { variants, most: 120, tail: 3 } },
  measure: measureChaos,
})
