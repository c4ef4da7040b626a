import { inNetwork } from '../../lab/in-network.ts'
import { measureAgent } from '../../measure/controlplane/agent.ts'
import { experiment, findings } from '../../runner/experiment.ts'

export const agentOfControlPlane = experiment({
  name: 'control-plane-agent',
  title: 'An agent that reads from a control plane',
  shows: 'The agent starts on a node among many Services, by the API server and by a control plane.',
  minutes: { short: 1, full: 2.4 },
  options: {
    short: { services: 1000, endpoints: 10, rounds: 1, settleMs: 15_000 },
    full: { services: 10_000, endpoints: 10, rounds: 1, settleMs: 20_000 },
  },
  async measure(run, options) {
    const report = await run.step('both sources', () => inNetwork(network => measureAgent(network, options)))
    return findings(report)
  },
})
