/**
 * Decides with --client-address=auto what endpoints see as the peer of connections through this node's Envoy: the
 * client's address only where everything is proven that this needs, since requests fail where it does not work.
 *
 * A node begins with the node's address, and changes once all is proven; only new connections are concerned. The proof
 * is repeated now and then, and the node changes back when it finds an obstacle. A new run continues with the choice of
 * the run before.
 */

import { release } from 'node:os'
import { familyNames } from '../../kernel/family.ts'
import { type Nftables, withNftables } from '../../kernel/nftables/client.ts'
import { hasClientAddress } from '../../kernel/nftables/rules/ruleset.ts'
import { findPairs, type PairOptions } from '../../kernel/probes/pairs.ts'
import { testReplies } from '../../kernel/probes/replytest.ts'
import { testSending } from '../../kernel/probes/sendtest.ts'
import { findObstacle, noPod, readPodNetwork } from '../../kernel/system/routing/podnetwork.ts'
import { applySettings, localPorts } from '../../kernel/system/sysctl.ts'
import type { IpFamily } from '../../net/address.ts'
import { type Problem, problem } from '../../services/problem.ts'
import { type ClientAddress, type ClientAddressMode, firstOwnPort } from '../../services/settings/clientaddress.ts'

export interface ClientAddressChoice {
  readonly setting: ClientAddressMode
  readonly mode: ClientAddress
  /** The reason, for people; begins with the setting. */
  readonly why: string
  /** There is no obstacle, but it could not be tried: an earlier proof stands. */
  readonly isUndecided?: boolean
}

/**
 * The choice at the agent's start; with `auto`, the one of the run before, as its rules show, if there is no obstacle
 * now.
 */
export async function chooseClientAddress(
  setting: ClientAddressMode,
  families: readonly IpFamily[],
): Promise<ClientAddressChoice> {
  if (setting !== 'auto') return { setting, mode: setting, why: `--client-address ${setting}` }
  try {
    if (!(await isPreserved(families))) return forwarded('it is not proven yet that all works that this needs')
    const obstacle = findObstacle(release(), readPodNetwork())
    return obstacle === undefined ? preserved('an earlier run of the agent has proven it') : forwarded(obstacle)
  } catch (error) {
    return forwarded((error as Error).message)
  }
}

async function isPreserved(families: readonly IpFamily[]): Promise<boolean> {
  const read = (nft: Nftables) => Promise.all(families.map(family => nft.chains(familyNames[family])))
  return (await withNftables(undefined, read)).every(hasClientAddress)
}

export function forwarded(obstacle: string): ClientAddressChoice {
  return { setting: 'auto', mode: 'forwarded-for', why: `--client-address auto: ${obstacle}` }
}

function undecided(obstacle: string): ClientAddressChoice {
  return { ...forwarded(obstacle), isUndecided: true }
}

function preserved(proof: string): ClientAddressChoice {
  return { setting: 'auto', mode: 'preserve', why: `--client-address auto: ${proof}` }
}

export interface ProofInputs extends PairOptions {
  readonly envoyMark: number
  /** Whether pods can be told from external clients, which are then not redirected to Envoy. */
  readonly tellsPods: boolean
  /** What the bootstraps of the connected Envoys are for. */
  readonly bootstraps: readonly ClientAddress[]
}

/** Tries everything that can be tried. Returns the obstacle or the proof. Changes the range of ports where it may. */
export async function proveClientAddress(inputs: ProofInputs): Promise<ClientAddressChoice> {
  const { tellsPods, bootstraps } = inputs
  if (!tellsPods) return forwarded('pods are not told from others, whom answers would miss (--detect-local-mode)')
  if (bootstraps.length === 0) return undecided('no Envoy is connected')
  if (bootstraps.includes('forwarded-for')) return forwarded("Envoy's bootstrap is for --client-address forwarded-for")
  try {
    const pods = readPodNetwork()
    const obstacle = findObstacle(release(), pods) ?? (await findTaken(inputs)) ?? (await findPortsObstacle())
    if (obstacle === noPod || obstacle === nothingToTry) return undecided(obstacle)
    if (obstacle !== undefined) return forwarded(obstacle)
    return preserved(`pods are routed one by one (${pods.routed[0]}), and what is sent to them passes netfilter here`)
  } catch (error) {
    return undecided((error as Error).message)
  }
}

const nothingToTry = 'no pod of this node and endpoint are known between which it could be tested'

/** Finds what the endpoint would see, and what becomes of its answer. */
async function findTaken(inputs: ProofInputs): Promise<string | undefined> {
  const pairs = findPairs(inputs)
  const { seen, unseen } = await testReplies(pairs)
  if (unseen.length > 0) return `something takes packets before netfilter: from ${unseen[0]}`
  if (seen.length === 0) return nothingToTry
  return testSending(pairs, inputs.envoyMark)
}

/** Sets the range of ports where it may. */
async function findPortsObstacle(): Promise<string | undefined> {
  const [unmet] = await applySettings([localPorts(firstOwnPort)])
  return unmet && `${unmet.name} is not ${unmet.wanted} (${unmet.reason})`
}

/** Whether an Envoy's bootstrap cannot do what its agent decided. One for `preserve` can do both. */
export function bootstrapProblems(
  { mode, why }: ClientAddressChoice,
  envoy: string,
  bootstrap: ClientAddress,
): readonly Problem[] {
  if (bootstrap === 'preserve' || mode === 'forwarded-for') return []
  const reason = `its bootstrap is for --client-address ${bootstrap}, and the agent's is ${mode} (${why})`
  const remedy =
    'its connections may collide with those of the pods that they stand for; start it with a bootstrap for preserve'
  return [problem('LP303', `Envoy ${envoy}`, reason, remedy)]
}
