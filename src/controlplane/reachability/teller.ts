/**
 * Which of the replicas tells Kubernetes: the first by address that is ready and that this one does not find dead. All
 * know that from what they watch, so nobody has to be elected, and nothing is written while all is well.
 */

import type { Exclusion } from '../../exclusions/exclusion.ts'
import { Exclusions } from '../../exclusions/exclusion.ts'
import { familyOf } from '../../net/address.ts'
import type { ReadyEndpoints } from '../failures/readyendpoints.ts'

export interface Self {
  /** The Service of the control plane, `namespace/name`. */
  readonly service: string
  /** Of this replica, with the port where agents are served. */
  readonly address: string
  readonly port: number
}

/** Nobody tells who is no endpoint of the Service. */
export function isTeller({ service, address, port }: Self, ready: ReadyEndpoints, all: readonly Exclusion[]): boolean {
  const exclusions = new Exclusions(all)
  const others = ready.readyIn(service).filter(ip => familyOf(ip) === familyOf(address))
  const living = others.filter(ip => ip === address || !exclusions.of(ip, port, 'TCP', ready.nodeOf(ip)))
  return living[0] === address
}
