import { inNetwork } from '../../lab/in-network.ts'
import { measureLargest } from '../../measure/largest.ts'
import { startFleet } from '../../measure/scale.ts'
import { experiment, findings } from '../../runner/experiment.ts'

export const largest = experiment({
  name: 'largest',
  title: "One tenant's largest objects",
  shows: `What one tenant's largest objects cost others: how long the agent's event loop stands still, and how long changes of
others take meanwhile.`,
  minutes: { short: 0.8, full: 2 },
  options: { short: { turns: 3 }, full: { turns: 20 } },
  async measure(run, { turns }) {
    const report = await run.step('largest objects', () =>
      inNetwork(async network => measureLargest(network, await startFleet(network), turns)),
    )
    return findings(report)
  },
})
