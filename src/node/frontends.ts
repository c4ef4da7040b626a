/** The frontends of a node, as planned now. */

import { type Frontend, frontendsOf, portIdOf } from '../envoy/resources/frontend.ts'
import type { NodePlan } from '../plan/nodeplan.ts'

/** Undefined for one that is gone. */
export function frontendOf(plan: NodePlan, id: string): Frontend | undefined {
  const state = plan.get(portIdOf(id))
  return state && frontendsOf(state).find(frontend => frontend.id === id)
}

/** Those with an endpoint at this address, as they would be were nothing excluded. */
export function* frontendsWith(plan: NodePlan, ip: string): Iterable<Frontend> {
  for (const state of plan.statesUnlessExcluded(ip))
    for (const frontend of frontendsOf(state)) if (frontend.layer.wants === 'envoy') yield frontend
}
