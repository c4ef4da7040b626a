/** Readings for the agent's metrics, taken when somebody asks. */

import type { IpFamily } from '../../../net/address.ts'
import type { Readings } from '../../../observe/metrics/metrics.ts'
import type { ProblemRegistry } from '../../../observe/problems.ts'
import type { AgentParts } from '../../parts.ts'
import { eligibleServices } from '../eligible.ts'

export function readingsOf(parts: AgentParts, problems: ProblemRegistry, families: readonly IpFamily[]): Readings {
  const { plan, envoy, kernel, use, xds, overlaySwitch, path, exclusions } = parts
  const hasAddress = (family: IpFamily) => path.result(family)?.outcome !== 'absent'
  return {
    objects: () => ({ ...plan.counts() }),
    overlayOff: () => overlaySwitch.isOff,
    overlayEntries: () => envoy.redirects.size,
    draining: () => envoy.draining,
    waiting: () => use.waiting,
    kernelElements: () => [...kernel.totals.values()].reduce((sum, count) => sum + count, 0),
    envoyUp: () => envoy.envoys.isUp,
    eligible: () => eligibleServices(plan).length,
    redirectExemptPods: () => plan.policies.clients().length,
    excluded: () => exclusions.counts(),
    paths: () => families.filter(hasAddress).map(family => [family, envoy.isPathOpen(family)]),
    problems: () => problems.counts(),
    xds: () => xds.server?.traffic ?? new Map(),
  }
}
