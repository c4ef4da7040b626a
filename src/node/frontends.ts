/** The frontends of a node, as planned now. */

import { envoyEndpointsOf, type Frontend, frontendsOf, portIdOf } from '../envoy/resources/frontend.ts'
import { ofHostPort } from '../net/address.ts'
import type { NodePlan } from '../plan/nodeplan.ts'

/** Undefined for one that is gone. */
export function frontendOf(plan: NodePlan, id: string): Frontend | undefined {
  const state = plan.get(portIdOf(id))
  return state && frontendsOf(state).find(frontend => frontend.id === id)
}

/** Those for which Envoy connects to the endpoint, as `hostPort` writes it, or would were nothing excluded. */
export function* frontendsTo(plan: NodePlan, endpoint: string): Iterable<Frontend> {
  const { ip, port } = ofHostPort(endpoint)
  const leadsThere = (frontend: Frontend) =>
    frontend.layer.wants === 'envoy' && envoyEndpointsOf(frontend).some(one => one.ip === ip && one.port === port)
  for (const state of plan.statesUnlessExcluded(ip)) yield* frontendsOf(state).filter(leadsThere)
}
