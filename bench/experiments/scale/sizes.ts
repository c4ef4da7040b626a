import { measureSizes } from '../../measure/sizes/sizes.ts'
import { experiment } from '../../runner/experiment.ts'

export const sizes = experiment({
  name: 'sizes',
  title: 'By the number of Services',
  shows: `Start-up, memory and CPU time of each proxy among many Services by a real API server; how long a new connection takes; and how
soon a replaced endpoint is in effect while a hundred other EndpointSlices a second change. Envoy's CPU time in the first table is
not that of the changes: it most likely still works off the thirty thousand connections of the second, each reset by its client once open.
With few Services kube-proxy starts sooner and takes less memory and CPU time.`,
  minutes: { short: 1.6, full: 40 },
  options: {
    short: { services: [1000], endpoints: 2, mostForIptables: 10_000, changes: 2, watch: 3 },
    full: { services: [1000, 5000, 10_000, 30_000], endpoints: 2, mostForIptables: 10_000, changes: 20, watch: 20 },
  },
  measure: measureSizes,
})
