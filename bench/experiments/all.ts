/** All experiments, in the order in which they run. */

import { shapeExperiment } from '../measure/shapes.ts'
import type { Experiment } from '../runner/experiment.ts'
import { agentOfControlPlane } from './controlplane/agent.ts'
import { apiServerOfMany } from './controlplane/api.ts'
import { serving } from './controlplane/serving.ts'
import { deadNode } from './failures/dead-node.ts'
import { falseExclusions, falseExclusionsExperiment } from './failures/false-exclusions.ts'
import { chaos } from './requests/chaos.ts'
import { datapath } from './requests/datapath.ts'
import { errors } from './requests/errors.ts'
import { graph } from './requests/graph.ts'
import { graphSpread } from './requests/graph-spread.ts'
import { keepAlive } from './requests/keep-alive.ts'
import { latency } from './requests/latency.ts'
import { uneven } from './requests/uneven.ts'
import { whoami } from './requests/whoami.ts'
import { agent } from './scale/agent.ts'
import { kernelLayer } from './scale/kernel-layer.ts'
import { kubeproxy } from './scale/kubeproxy.ts'
import { sizes } from './scale/sizes.ts'
import { use } from './scale/use.ts'
import { fairShare } from './tenants/fair-share.ts'
import { flood } from './tenants/flood.ts'
import { largest } from './tenants/largest.ts'

/** Two of kubernetes#139513 and #135639; the others are chosen by name alone. */
const worstShapes = ['44125x1', '5006x50']

const experiments: readonly Experiment[] = [
  graph,
  graphSpread,
  errors,
  uneven,
  latency,
  keepAlive,
  chaos,
  deadNode,
  falseExclusions,
  sizes,
  whoami,
  datapath,
  kubeproxy,
  agent,
  kernelLayer,
  use,
  serving,
  agentOfControlPlane,
  apiServerOfMany,
  largest,
  fairShare,
  flood,
]

export const experimentNames: readonly string[] = [...experiments.map(({ name }) => name), ...worstShapes]

/** Also one such as `1000x10`: so many Services of so many endpoints; or `false-exclusions-60m`: for so many minutes. */
export function findExperiment(name: string): Experiment | undefined {
  return experiments.find(one => one.name === name) ?? falseExclusionsExperiment(name) ?? shapeExperiment(name)
}
