/** The inputs of a plan beside the cluster: one node, and the flags of its agent. */

import type { ReservedPorts } from './endpoints/rules.ts'
import { EnvoyBudget } from './envoy/budget.ts'
import { HeldBack } from './envoy/heldback.ts'
import { MisnamedPorts } from './envoy/misnamed.ts'
import { defaultEnvoyLimits, type EnvoyLimits } from './envoy/quota.ts'
import type { ExternalObstacles } from './ports/layer.ts'
import type { ServiceScope } from './ports/scope.ts'

export interface NodeFacts {
  /** Undefined where the choice is made for no node in particular (`translate`). */
  readonly name: string | undefined
  /** Default: all. */
  readonly scope?: ServiceScope
  /** Default: none. */
  readonly obstacles?: ExternalObstacles
  /** Default: nothing. */
  readonly reserved?: ReservedPorts
  /** Of Envoy. Default: those of the flags. */
  readonly limits?: EnvoyLimits
  /** Of the node's Envoy. Default: it takes all. */
  readonly budget?: EnvoyBudget
  /** From Envoy. Default: none. */
  readonly heldBack?: HeldBack
  /** As seen on the node. Default: none. */
  readonly misnamed?: MisnamedPorts
  /** See `Excluded`. Default: half. */
  readonly maxExcluded?: number
  /** Of a Service with so many endpoints they are remembered, so that a change costs what it touches. Default: 256. */
  readonly manyEndpoints?: number
}

export function withDefaults({
  name,
  scope = 'all',
  obstacles = {},
  reserved,
  limits = defaultEnvoyLimits,
  budget = new EnvoyBudget({ limit: Infinity, followsUse: false }),
  heldBack = new HeldBack(),
  misnamed = new MisnamedPorts(),
  maxExcluded = 0.5,
  manyEndpoints = 256,
}: NodeFacts) {
  return { name, scope, obstacles, reserved, limits, budget, heldBack, misnamed, maxExcluded, manyEndpoints }
}

/** Why a port is not in the node's Envoy for now; undefined where it may be. */
export function whyWaiting(
  { heldBack, budget }: Pick<Required<NodeFacts>, 'heldBack' | 'budget'>,
  id: string,
  isAlways: boolean,
): string | undefined {
  return heldBack.why(id) ?? (budget.has(id, isAlways) ? undefined : budget.whyWaiting)
}
