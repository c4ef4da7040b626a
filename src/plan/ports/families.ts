/**
 * The ports of a Service, each in the families of its VIPs, and what each of them claims for itself alone (claims.ts).
 */

import { familyOf, type IpFamily } from '../../net/address.ts'
import type { Service, ServicePort } from '../../services/objects/service.ts'
import type { Claim, ClaimKind } from './claims.ts'
import { describeAddress, type Outside, type OutsideAddress, outsideOfAll, outsideOfPort } from './outside.ts'
import { portId } from './port.ts'

export interface PortOfFamily {
  readonly id: string
  readonly port: ServicePort
  readonly family: IpFamily
  readonly vip: string
  readonly outside: Outside | undefined
}

export function portsByFamily(service: Service): readonly PortOfFamily[] {
  const { namespace, name, ports, clusterIPs } = service
  const families = clusterIPs.map(vip => {
    const family = familyOf(vip)!
    return { vip, family, outside: outsideOfAll(service, family) }
  })
  return ports.flatMap(port =>
    families.map(({ vip, family, outside }, index) => {
      const id = portId(namespace, name, port, index === 0 ? undefined : family)
      return { id, port, family, vip, outside: outsideOfPort(outside, port) }
    }),
  )
}

/** Claims an address that a port has in several kinds once, as the kind that goes before the others. */
export function claimsOf({ id, port, family, vip, outside }: PortOfFamily): readonly Claim[] {
  const kinds = new Map<string, ClaimKind>([[claimKey({ ip: vip }, port, family), 'vip']])
  const claim = (address: OutsideAddress, kind: ClaimKind) => {
    const key = claimKey(address, port, family)
    if (!kinds.has(key)) kinds.set(key, kind)
  }
  if (outside?.nodePort !== undefined) claim({ nodePort: outside.nodePort }, 'node-port')
  for (const ip of outside?.loadBalancerIPs ?? []) claim({ ip }, 'load-balancer')
  for (const ip of outside?.externalIPs ?? []) claim({ ip }, 'external')
  return [...kinds].map(([key, kind]) => ({ id, key, kind }))
}

/** Names an address with the port's number, or a node port of a family. */
export function claimKey(address: OutsideAddress, port: ServicePort, family: IpFamily): string {
  const place = describeAddress(address, port)
  return 'ip' in address ? place : `${family} ${place}`
}
