import { inNetwork } from '../../lab/in-network.ts'
import { measureFlood } from '../../measure/flood.ts'
import { experiment, findings } from '../../runner/experiment.ts'

export const flood = experiment({
  name: 'flood',
  title: 'Idle connections of another client',
  shows: 'Requests to one Service beside thousands of idle connections to another, through the same Envoy.',
  minutes: { short: 0.2, full: 2 },
  options: { short: { connections: 2000, seconds: 3 }, full: { connections: 20_000, seconds: 20 } },
  async measure(run, options) {
    return findings(await run.step('flood', () => inNetwork(network => measureFlood(network, options))))
  },
})
