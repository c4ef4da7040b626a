/** Picks the frontends in Envoy for which it matters how fast endpoints answer. */

import { hashesClients } from '../../envoy/resources/cluster/loadbalancing.ts'
import type { Frontend } from '../../envoy/resources/frontend.ts'
import type { NodePlan } from '../../plan/nodeplan.ts'
import type { EnvoyLayer } from '../envoy/envoylayer.ts'

type Published = Pick<EnvoyLayer, 'frontendOf' | 'lbPolicyOf'>

/** With PEAK_EWMA a slow endpoint gets little anyway; where clients are hashed, each has its own work. */
export function slowWatched(plan: NodePlan, envoy: Published): readonly Frontend[] {
  const states = [...plan.states()].filter(({ settings }) => settings.outlierDetectionSlowness > 0)
  return states
    .flatMap(({ id }) => envoy.frontendOf(id) ?? [])
    .filter(one => !hashesClients(one.settings) && envoy.lbPolicyOf(one) !== 'PEAK_EWMA')
}

export function balancedByLatency(plan: NodePlan, envoy: Published): readonly Frontend[] {
  return [...plan.states()]
    .flatMap(({ id }) => envoy.frontendOf(id) ?? [])
    .filter(frontend => envoy.lbPolicyOf(frontend) === 'PEAK_EWMA')
}
