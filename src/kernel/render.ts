/** The whole of our tables as one text, for people and for tests. */

import type { PortState } from '../services/port.ts'
import { familyNames } from './elements.ts'
import { Mirror } from './mirror.ts'
import { type NodeFacts, type NodePlanOptions, planNode, primaryAddress, unknownSurroundings } from './node.ts'
import { meantForEnvoy } from './overlay.ts'
import { type PlanOptions, placementOf, planPort } from './plan.ts'
import { type RulesetOptions, renderFixedPart } from './ruleset.ts'

/**
 * What a node would have in the kernel for these ports once Envoy has acknowledged all that are meant for it: a text
 * for `nft -f`, into a machine that has no such tables yet.
 */
export function renderRuleset(
  states: readonly PortState[],
  node: NodeFacts | undefined,
  options: PlanOptions & NodePlanOptions & RulesetOptions,
): string {
  const changes = states.map(state => {
    return {
      current: new Map(),
      wanted: planPort(placementOf(state, meantForEnvoy(state), primaryAddress(node, state.family)), options),
    }
  })
  const ofNode = { current: new Map(), wanted: planNode({ ...unknownSurroundings, node }, options) }
  const fixedParts = options.families.map(family => renderFixedPart(familyNames[family], options))
  return fixedParts.join('') + new Mirror().prepare([ofNode, ...changes]).transaction.text()
}
