import { inNetwork } from '../../lab/in-network.ts'
import { measureUse } from '../../measure/use.ts'
import { experiment, findings } from '../../runner/experiment.ts'

export const use = experiment({
  name: 'use',
  title: 'A node that calls few of many Services',
  shows: `What Envoy costs a node that calls a hundred of 10,000 Services, by use (the default) and with all in Envoy, and how soon
a port is there that is called for the first time.`,
  minutes: { short: 1.6, full: 20 },
  options: {
    short: { services: 1000, rounds: 1, called: 20, budget: 100, settleMs: 3000, restMs: 5000 },
    full: { services: 10_000, rounds: 3, called: 100, budget: 1000, settleMs: 20_000, restMs: 60_000 },
  },
  async measure(run, { services, ...options }) {
    const size = { services, endpoints: 10 }
    return findings(await run.step('both nodes', () => inNetwork(network => measureUse(network, size, options))))
  },
})
