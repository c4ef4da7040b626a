/** All experiments, in the order in which they run. */

import { shapeExperiment } from '../measure/shapes.ts'
import type { Experiment } from '../runner/experiment.ts'
import { agent } from './agent.ts'
import { chaos } from './chaos.ts'
import { datapath } from './datapath.ts'
import { errors } from './errors.ts'
import { fairShare } from './fair-share.ts'
import { flood } from './flood.ts'
import { graph } from './graph.ts'
import { keepAlive } from './keep-alive.ts'
import { kernelLayer } from './kernel-layer.ts'
import { kubeproxy } from './kubeproxy.ts'
import { largest } from './largest.ts'
import { latency } from './latency.ts'
import { sizes } from './sizes.ts'
import { uneven } from './uneven.ts'
import { use } from './use.ts'
import { whoami } from './whoami.ts'

/** Two of kubernetes#139513 and #135639; the others are chosen by name alone. */
const worstShapes = ['44125x1', '5006x50']

const experiments: readonly Experiment[] = [
  graph,
  errors,
  uneven,
  latency,
  keepAlive,
  chaos,
  sizes,
  whoami,
  datapath,
  kubeproxy,
  agent,
  kernelLayer,
  use,
  largest,
  fairShare,
  flood,
]

export const experimentNames: readonly string[] = [...experiments.map(({ name }) => name), ...worstShapes]

/** Also one such as `1000x10`: so many Services of so many endpoints. */
export function findExperiment(name: string): Experiment | undefined {
  return experiments.find(one => one.name === name) ?? shapeExperiment(name)
}
