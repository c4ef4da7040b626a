import { inNetwork } from '../../lab/in-network.ts'
import { measureServing } from '../../measure/controlplane/serving.ts'
import { experiment } from '../../runner/experiment.ts'

export const serving = experiment({
  name: 'control-plane',
  title: 'One control plane for many nodes',
  shows: `A control plane as it ships, by a real API server, and simulated nodes that read from it as agents do: all connect at once;
then endpoints change, one after the other and a hundred times a second, until each node is told.`,
  minutes: { short: 0.6, full: 4 },
  options: {
    short: {
      ...{ services: 1000, endpoints: 10, agents: 100, rounds: 1, single: 20 },
      churn: { rate: 100, seconds: 3 },
    },
    full: {
      ...{ services: 10_000, endpoints: 10, agents: 500, rounds: 1, single: 120 },
      churn: { rate: 100, seconds: 20 },
    },
  },
  measure: (run, options) =>
    run.step('connections and changes', () =>
      inNetwork(network => measureServing(network, options), { nodes: 3, families: ['IPv4'] }),
    ),
})
