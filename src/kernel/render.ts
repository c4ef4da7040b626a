/** The whole of our tables as one text, for people and for tests. */

import type { PortState } from '../services/port.ts'
import { familyNames } from './elements.ts'
import { Mirror } from './mirror.ts'
import { type Operation, operationsText } from './nftables/operations.ts'
import { type NodeFacts, type NodePlanOptions, planNode, primaryAddress, unknownSurroundings } from './node.ts'
import { meantForEnvoy } from './overlay.ts'
import { type PlanOptions, placementOf, planPort } from './plan.ts'
import { fixedPart, type RulesetOptions } from './ruleset.ts'

/**
 * What a node would have in the kernel for these ports once Envoy has acknowledged all that are meant for it: for a
 * machine that has no such tables yet.
 */
export function planRuleset(
  states: readonly PortState[],
  node: NodeFacts | undefined,
  options: PlanOptions & NodePlanOptions & RulesetOptions,
): readonly Operation[] {
  const changes = states.map(state => {
    return {
      current: new Map(),
      wanted: planPort(placementOf(state, meantForEnvoy(state), primaryAddress(node, state.family)), options),
    }
  })
  const ofNode = { current: new Map(), wanted: planNode({ ...unknownSurroundings, node }, options) }
  const fixedParts = options.families.map(family => fixedPart(familyNames[family], options))
  return [...fixedParts, ...new Mirror().prepare([ofNode, ...changes]).transaction.operations()]
}

/** The same as text, which `nft -f` loads. */
export function renderRuleset(...ruleset: Parameters<typeof planRuleset>): string {
  return operationsText(planRuleset(...ruleset))
}
