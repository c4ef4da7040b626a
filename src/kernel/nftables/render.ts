/** The whole of our tables as one text, for people and for tests. */

import type { PortState } from '../../plan/ports/port.ts'
import { familyNames } from '../family.ts'
import { type NodeFacts, primaryAddress, unknownNode } from '../nodeconfig.ts'
import type { NodePlanOptions, PlanOptions, RulesetOptions } from '../options.ts'
import { meantForEnvoy } from '../overlay.ts'
import { planNode } from './elements/node.ts'
import { placementOf, planPort } from './elements/plan.ts'
import { type Operation, operationsText } from './operations.ts'
import { fixedPart } from './rules/ruleset.ts'
import { TableCache } from './sync/transaction/tablecache.ts'

/**
 * Plans what a node has in the kernel for these ports once Envoy has acknowledged all that are meant for it, for a
 * machine that has no such tables yet.
 */
export function planRuleset(
  states: readonly PortState[],
  node: NodeFacts | undefined,
  options: PlanOptions & NodePlanOptions & RulesetOptions,
  sharesListener: (state: PortState) => boolean = () => false,
): readonly Operation[] {
  const changes = states.map(state => {
    return {
      current: new Map(),
      wanted: planPort(
        placementOf(state, meantForEnvoy(state, sharesListener), primaryAddress(node, state.family)),
        options,
      ),
    }
  })
  const ofNode = { current: new Map(), wanted: planNode({ ...unknownNode, node }, options) }
  const fixedParts = options.families.map(family => fixedPart(familyNames[family], options))
  return [...fixedParts, ...new TableCache().prepare([ofNode, ...changes]).transaction.operations()]
}

/** Renders the same as text, which `nft -f` loads. */
export function renderRuleset(...ruleset: Parameters<typeof planRuleset>): string {
  return operationsText(planRuleset(...ruleset))
}
