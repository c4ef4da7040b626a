import { inNetwork } from '../../lab/in-network.ts'
import { Datapath } from '../../measure/datapath.ts'
import { experiment, findings } from '../../runner/experiment.ts'

export const datapath = experiment({
  name: 'datapath',
  title: 'Against the same by hand',
  shows: `Requests through Lightpath against the same programs configured by hand: the same Envoy with a minimal static
configuration on the same path, and one nft DNAT rule. Closed-loop load by wrk, since what is compared is the work of a request.`,
  minutes: { short: 0.6, full: 6 },
  options: {
    short: { rounds: 2, seconds: 1, services: 1000 },
    full: { rounds: 20, seconds: 1, services: 10_000 },
  },
  async measure(run, options) {
    const reports = await run.step('Envoy and kernel layer', () =>
      inNetwork(async network => {
        const datapath = await Datapath.create(network, options)
        return [await datapath.measureEnvoy(), await datapath.measureKernel()]
      }),
    )
    return findings(...reports)
  },
})
