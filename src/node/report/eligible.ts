/**
 * Finds eligible unlabelled Services: admission would have handed them to Lightpath, and with `--services=labelled`
 * kube-proxy has them.
 */

import type { NodePlan } from '../../plan/nodeplan.ts'
import { whyLeft } from '../../services/handover/rule.ts'

/** Returns `namespace/name` of each, in no order. */
export function eligibleServices(plan: NodePlan): readonly string[] {
  const eligible: string[] = []
  for (const { service, namespace } of plan.unlabelled()) {
    const { name, labels, type, clusterIPs } = service
    const asInApi = {
      metadata: { namespace: service.namespace, name, labels },
      spec: { type, clusterIP: clusterIPs[0] ?? 'None' },
    }
    if (whyLeft(asInApi, namespace?.labels ?? {}) === undefined) eligible.push(`${service.namespace}/${name}`)
  }
  return eligible
}
