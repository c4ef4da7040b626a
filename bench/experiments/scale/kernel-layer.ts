import { inNetwork } from '../../lab/in-network.ts'
import { measureKernelLayer } from '../../measure/kernel-layer.ts'
import { experiment, findings } from '../../runner/experiment.ts'

export const kernelLayer = experiment({
  name: 'kernel-layer',
  title: "The kernel layer alone, at the field's worst sizes",
  shows: `How long the kernel takes to get everything, and one change, at the sizes of kubernetes#139513 and #135639. What is read
and planned before is not counted. The short form has a tenth of the Services.`,
  minutes: { short: 0.1, full: 4 },
  options: {
    short: {
      sizes: [
        { services: 1000, endpoints: 10 },
        { services: 4413, endpoints: 1 },
        { services: 501, endpoints: 50 },
      ],
      rounds: 1,
      changes: 100,
    },
    full: {
      sizes: [
        { services: 10_000, endpoints: 10 },
        { services: 44_125, endpoints: 1 },
        { services: 5006, endpoints: 50 },
      ],
      rounds: 3,
      changes: 500,
    },
  },
  async measure(run, options) {
    return findings(await run.step('all sizes', () => inNetwork(network => measureKernelLayer(network, options))))
  },
})
