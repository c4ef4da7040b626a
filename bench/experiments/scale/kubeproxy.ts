import { inNetwork } from '../../lab/in-network.ts'
import { Datapath } from '../../measure/datapath.ts'
import { measureSync } from '../../measure/kubeproxy.ts'
import { experiment, findings } from '../../runner/experiment.ts'

export const kubeproxy = experiment({
  name: 'kubeproxy',
  title: "The kernel layer against kube-proxy's",
  shows: `The same API server and the same Services, a node each: one EndpointSlice changes, again and again, and requests go to one
of the Services.`,
  minutes: { short: 0.9, full: 10 },
  options: {
    short: { size: { services: 1000, endpoints: 10 }, rounds: 2, changes: { changes: 10, perTurn: 10 } },
    full: { size: { services: 10_000, endpoints: 10 }, rounds: 20, changes: { changes: 200, perTurn: 25 } },
  },
  async measure(run, { size, rounds, changes }) {
    const reports = await run.step('changes and traffic', () =>
      inNetwork(async network => {
        const datapath = await Datapath.create(network, { rounds, seconds: 1, services: size.services })
        const sync = await measureSync(network, size, changes, datapath.service('tcp'))
        return [sync, await datapath.measureKubeProxy(network.nodes[1]!)]
      }),
    )
    return findings(...reports)
  },
})
