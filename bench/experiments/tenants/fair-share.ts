import { inNetwork } from '../../lab/in-network.ts'
import { measureFairShare } from '../../measure/fairshare.ts'
import { startFleet } from '../../measure/scale.ts'
import { experiment, findings } from '../../runner/experiment.ts'

export const fairShare = experiment({
  name: 'fair-share',
  title: 'A tenant that takes what it can',
  shows: `What other tenants of a node notice while one changes its objects all the time, has large requests fail and others
never end.`,
  minutes: { short: 0.5, full: 2 },
  options: { short: { turns: 40 }, full: { turns: 200 } },
  async measure(run, { turns }) {
    const report = await run.step('at rest and under attack', () =>
      inNetwork(async network => measureFairShare(network, await startFleet(network), turns)),
    )
    return findings(report)
  },
})
