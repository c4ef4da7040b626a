/** What a plan has derived of a Service. */

import type { Namespace, Service } from '../services/objects/service.ts'
import { readSettings, type ServiceSettings } from '../services/settings/annotations.ts'
import type { RememberedCandidates } from './endpoints/candidates.ts'
import type { HealthCheck } from './endpoints/healthcheck.ts'
import { type PortOfFamily, portsByFamily } from './ports/families.ts'
import type { Layer, PortState } from './ports/port.ts'
import { kernelLayersOf } from './ports/portstates.ts'
import type { Handover } from './ports/scope.ts'

export interface Derived {
  ports: readonly PortState[]
  /** Undefined where it is not served. */
  shape: Shape | undefined
  /** The Service as which it claims its VIPs, ports and external addresses; also those that another Service owns. */
  claims: Service | undefined
  healthChecks: readonly HealthCheck[]
  handover: Handover
  /** Of a Service with many endpoints that is served. */
  candidates?: RememberedCandidates | undefined
}

/** With all that it may have: what V8 gets to know later takes 32 bytes more of each. */
export function newDerived(): Derived {
  return {
    ports: [],
    shape: undefined,
    claims: undefined,
    healthChecks: [],
    handover: undefined,
    candidates: undefined,
  }
}

/** The part of a Service's states that does not follow from its endpoints: derived once for all that these do. */
export interface Shape {
  readonly service: Service
  readonly settings: ServiceSettings
  /** Its ports, in each family of its VIPs. */
  readonly wanted: readonly PortOfFamily[]
  /** See `kernelLayersOf`, as are the next two. */
  readonly kernelLayers: readonly (Layer | undefined)[]
  readonly namespace: Namespace | undefined
  readonly takenOver: string | undefined
}

/**
 * Returns the known shape where it is still right.
 *
 * @param takenOver why another proxy takes the Service over, which the kernel layer serves until then
 */
export function shapeOf(
  service: Service,
  namespace: Namespace | undefined,
  takenOver: string | undefined,
  known: Shape | undefined,
): Shape {
  const sameService = known?.service === service ? known : undefined
  if (sameService && sameService.namespace === namespace && sameService.takenOver === takenOver) return sameService
  const settings = sameService?.settings ?? readSettings(service)
  const wanted = sameService?.wanted ?? portsByFamily(service)
  const kernelLayers = kernelLayersOf(service, wanted, settings, namespace, takenOver)
  return { service, settings, wanted, kernelLayers, namespace, takenOver }
}
