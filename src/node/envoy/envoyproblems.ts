/** Finds what is wrong with an Envoy itself, whatever its configuration. */

import { isSupported, minimumVersion } from '../../envoy/program/find.ts'
import type { Shortage } from '../../plan/envoy/heldback.ts'
import { type Problem, problem } from '../../services/problem.ts'
import { type ClientAddress, clientAddressKey } from '../../services/settings/clientaddress.ts'
import type { ClientInfo } from '../../xds/session.ts'

export function bootstrapOf({ metadata }: ClientInfo): ClientAddress {
  return metadata.get(clientAddressKey) === 'preserve' ? 'preserve' : 'forwarded-for'
}

/**
 * An older Envoy gets everything all the same: it rejects what it does not understand, and the kernel layer serves
 * that.
 */
export function versionProblems({ nodeId, envoyVersion }: ClientInfo): readonly Problem[] {
  if (isSupported(envoyVersion)) return []
  const reason = `its version is ${envoyVersion || 'not told'}, older than ${minimumVersion}`
  const remedy = `what it refuses stays in the kernel layer; install ${minimumVersion}`
  return [problem('LP302', `Envoy ${nodeId}`, reason, remedy)]
}

/** @param without frontends whose endpoints it is to choose by latency */
export function moduleProblem(nodeName: string, without: readonly { readonly id: string }[]): Problem {
  const ports = without.slice(0, 3).map(({ id }) => id)
  const more = without.length > ports.length ? ` and ${without.length - ports.length} more` : ''
  const remedy =
    "they have LEAST_REQUEST; start Envoy by Lightpath's image, or give it the module and a bootstrap with --envoy-module on"
  return problem(
    'LP307',
    `node ${nodeName}`,
    `an Envoy lacks the module for PEAK_EWMA (${ports.join(', ')}${more})`,
    remedy,
  )
}

export function loadProblem({ nodeId }: ClientInfo, shortage: Shortage): Problem {
  const remedy =
    'the kernel layer serves all Services until it has had room for half a minute; see which Services use it, or give it more (--envoy-heap; open files)'
  return problem('LP304', `Envoy ${nodeId}`, `it is short of ${shortage}`, remedy)
}
