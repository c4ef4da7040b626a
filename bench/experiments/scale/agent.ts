import { inNetwork } from '../../lab/in-network.ts'
import { measureChanges } from '../../measure/change.ts'
import { measureScale } from '../../measure/scale.ts'
import { experiment, findings } from '../../runner/experiment.ts'

const small = { services: 100, endpoints: 10 }

/** The nodes that the one part has started are what the other changes. */
export const agent = experiment({
  name: 'agent',
  title: 'Start-up at two sizes, and one change',
  shows: `Agent and Envoy start on a node, from a directory of manifests, until everything is in both layers; then one EndpointSlice
changes, again and again. All Services are in Envoy (\`--envoy-ports all\`).`,
  minutes: { short: 0.5, full: 5 },
  options: {
    short: {
      sizes: [{ services: 1000, endpoints: 10 }, small],
      scale: { rounds: 1, settleMs: 5000 },
      change: { changes: 100, perTurn: 25 },
    },
    full: {
      sizes: [{ services: 10_000, endpoints: 10 }, small],
      scale: { rounds: 3, settleMs: 20_000 },
      change: { changes: 500, perTurn: 50 },
    },
  },
  async measure(run, { sizes, scale, change }) {
    const reports = await run.step('start-up and changes', () =>
      inNetwork(async network => {
        const { fleets, report } = await measureScale(network, sizes, scale)
        return [report, await measureChanges(fleets, change)]
      }),
    )
    return findings(...reports)
  },
})
