import { inNetwork } from '../../lab/in-network.ts'
import { measureApi } from '../../measure/controlplane/api.ts'
import { experiment, findings } from '../../runner/experiment.ts'

export const apiServerOfMany = experiment({
  name: 'control-plane-api',
  title: 'What many nodes cost the API server',
  shows: `Watches at a real API server, and what it sends for one change of an EndpointSlice, where each agent watches it by itself and
where two control planes do.`,
  minutes: { short: 1, full: 2 },
  options: {
    short: { agents: 50, changes: 5 },
    full: { agents: 500, changes: 20 },
  },
  async measure(run, options) {
    const report = await run.step('both', () =>
      inNetwork(network => measureApi(network, options), { nodes: 3, families: ['IPv4'] }),
    )
    return findings(report)
  },
})
