/** Plans which layer each Service of a cluster would get, and which pods would stay in the kernel layer. */

import type { NodePlan } from '../plan/nodeplan.ts'
import type { NodePolicies } from '../plan/policies.ts'
import type { Layer } from '../plan/ports/port.ts'
import type { ClusterFacts } from '../services/clusterfacts.ts'
import { someOf } from '../text/some.ts'
import { type Check, ok } from './check.ts'

/** A Service port, or a Service that would not be served. */
export interface PlannedPort {
  readonly service: string
  /** Name or number; undefined for a Service that is not served. */
  readonly port: string | undefined
  readonly vip: string | undefined
  readonly layer: 'Envoy' | 'kernel' | 'not served'
  /** The layer of external addresses; undefined where there are none. */
  readonly external: PlannedPort['layer'] | undefined
  readonly why: string
}

export interface PlanReading {
  readonly facts: ClusterFacts
  readonly plan: NodePlan
}

/**
 * Lists them in order of Services and ports.
 *
 * @param servesOutside whether external addresses are served at all
 */
export function plannedPorts({ facts, plan }: PlanReading, servesExternal: boolean): readonly PlannedPort[] {
  return [...facts.services.names()].sort().flatMap((service): readonly PlannedPort[] => {
    const [namespace = '', name = ''] = service.split('/')
    const view = plan.view(namespace, name)!
    if (view.ignored !== undefined) {
      const why = view.ignored
      return [{ service, port: undefined, vip: undefined, layer: 'not served', external: undefined, why }]
    }
    return view.ports.map(({ port, vip, layer, external }) => ({
      service,
      port: `${port.name === '' ? '' : `${port.name}:`}${port.port}/${port.protocol}`,
      vip,
      layer: nameOf(layer),
      external: external && (servesExternal ? nameOf(external.layer) : 'not served'),
      why: layer.reason,
    }))
  })
}

function nameOf({ wants }: Layer): 'Envoy' | 'kernel' {
  return wants === 'envoy' ? 'Envoy' : 'kernel'
}

/** @param most as `--envoy-ports` */
export function checkBudget(planned: readonly PlannedPort[], most: number | 'all'): readonly Check[] {
  const count = planned.filter(({ layer }) => layer === 'Envoy').length
  if (most === 'all' || count <= most) return []
  const found = `${count} ports are for it, and it has room for ${most} (--envoy-ports): on each node those are there that the node calls, and the others wait in the kernel layer`
  return [ok('ports in Envoy', found)]
}

export function checkPolicies(policies: NodePolicies): Check {
  const kept = policies.clients()
  if (kept.length === 0) return ok('NetworkPolicies', 'none selects a pod of this node for egress')
  const pods = kept.map(({ pod, reason }) => `${pod} (${reason})`)
  return ok('NetworkPolicies', `${kept.length} pods of this node stay in the kernel layer: ${someOf(pods)}`)
}
