/**
 * What endpoints of this node's connections through Envoy see as their peer, with --client-address=auto: the client's
 * address only where all is proven that this needs, since requests fail where it does not work.
 */

import { release } from 'node:os'
import { type PodNetwork, readPodNetwork } from '../kernel/podnetwork.ts'
import { applySettings, localPorts } from '../kernel/sysctl.ts'
import { type ClientAddress, type ClientAddressMode, firstOwnPort, hasPortRange } from '../services/clientaddress.ts'
import { type Problem, problem } from '../services/problem.ts'

export interface ClientAddressChoice {
  readonly setting: ClientAddressMode
  readonly mode: ClientAddress
  /** For people; begins with the setting. */
  readonly why: string
}

/** Once, at the start of the agent: later it would close connections. */
export async function chooseClientAddress(setting: ClientAddressMode): Promise<ClientAddressChoice> {
  if (setting !== 'auto') return { setting, mode: setting, why: `--client-address ${setting}` }
  try {
    const pods = await readPodNetwork()
    return decide(pods, findObstacle(release(), pods) ?? (await findPortsObstacle()))
  } catch (error) {
    return { setting, mode: 'forwarded-for', why: `--client-address auto: ${(error as Error).message}` }
  }
}

function decide(pods: PodNetwork, obstacle: string | undefined): ClientAddressChoice {
  const setting = 'auto'
  if (obstacle !== undefined) return { setting, mode: 'forwarded-for', why: `--client-address auto: ${obstacle}` }
  const why = `--client-address auto: pods are routed one by one (${pods.routed[0]}), and none is on a bridge`
  return { setting, mode: 'preserve', why }
}

/** Undefined where all is as the client's address needs it. `release` is such as 6.18.44. */
export function findObstacle(release: string, { bridges, programs, routed }: PodNetwork): string | undefined {
  if (!hasPortRange(release)) return `Linux ${release} has no IP_LOCAL_PORT_RANGE, 6.3 has`
  if (bridges.length > 0) return `pods are on a bridge (${bridges[0]}), where they answer each other directly`
  if (programs.length > 0) return `a data plane in eBPF may drop what the host sends for pods (${programs[0]})`
  if (routed.length === 0) {
    return 'there was no pod on this node when the agent started, so nothing shows that pods are routed'
  }
  return undefined
}

/** Sets the range of ports where it may. */
async function findPortsObstacle(): Promise<string | undefined> {
  const [unmet] = await applySettings([localPorts(firstOwnPort)])
  return unmet && `${unmet.name} is not ${unmet.wanted} (${unmet.reason})`
}

/** Whether the bootstrap of an Envoy is for something else than what its agent decided. One for `preserve` can do both. */
export function bootstrapProblems(
  { setting, mode, why }: ClientAddressChoice,
  envoy: string,
  bootstrap: ClientAddress,
): readonly Problem[] {
  const fits = bootstrap === mode || (setting === 'auto' && bootstrap === 'preserve')
  if (fits) return []
  const reason = `its bootstrap is for --client-address ${bootstrap}, and the agent's is ${mode} (${why})`
  const remedy =
    mode === 'preserve'
      ? 'its connections may collide with those of the pods that they stand for; start it with a bootstrap for preserve'
      : "endpoints see the node's address; give the agent --client-address preserve too, or start Envoy without it"
  return [problem('LP303', `Envoy ${envoy}`, reason, remedy)]
}
