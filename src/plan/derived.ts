/** What a plan has derived of a Service. */

import type { Service } from '../services/objects/service.ts'
import type { RememberedCandidates } from './endpoints/candidates.ts'
import type { HealthCheck } from './endpoints/healthcheck.ts'
import type { PortState } from './ports/port.ts'
import type { Handover } from './ports/scope.ts'
import type { Shape } from './ports/shape.ts'

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

export function newDerived(): Derived {
  return { ports: [], shape: undefined, claims: undefined, healthChecks: [], handover: undefined }
}
