/** Picks the frontends in Envoy for which it matters how fast endpoints answer. */

import { hashesClients } from '../../envoy/resources/cluster/loadbalancing.ts'
import type { Frontend } from '../../envoy/resources/frontend.ts'
import type { EnvoyLayer } from '../envoy/envoylayer.ts'

type Published = Pick<EnvoyLayer, 'frontends' | 'lbPolicyOf'>

/** With PEAK_EWMA a slow endpoint gets little anyway; where clients are hashed, each has its own work. */
export function slowWatched(envoy: Published): readonly Frontend[] {
  return envoy
    .frontends()
    .filter(({ settings }) => settings.outlierDetectionSlowness > 0)
    .filter(one => !hashesClients(one.settings) && envoy.lbPolicyOf(one) !== 'PEAK_EWMA')
}

export function balancedByLatency(envoy: Published): readonly Frontend[] {
  return envoy.frontends().filter(frontend => envoy.lbPolicyOf(frontend) === 'PEAK_EWMA')
}
