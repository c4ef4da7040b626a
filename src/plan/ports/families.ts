/**
 * The ports of a Service, each in the families of its VIPs, and what each of them claims for itself alone (claims.ts).
 */

import { familyOf, type IpFamily } from '../../net/address.ts'
import type { Service, ServicePort } from '../../services/objects/service.ts'
import type { Claim, ClaimKind } from './claims.ts'
import {
  describeAddress,
  type ExternalAddress,
  type ExternalAddresses,
  externalAddressesOfAll,
  externalAddressesOfPort,
} from './externaladdresses.ts'
import { portId } from './port.ts'

export interface PortOfFamily {
  readonly id: string
  readonly port: ServicePort
  readonly family: IpFamily
  readonly vip: string
  readonly external: ExternalAddresses | undefined
}

export function portsByFamily(service: Service): readonly PortOfFamily[] {
  const { namespace, name, ports, clusterIPs } = service
  const families = clusterIPs.map(vip => {
    const family = familyOf(vip)!
    return { vip, family, external: externalAddressesOfAll(service, family) }
  })
  const all = ports.flatMap(port =>
    families.map(({ vip, family, external }, index) => {
      const id = portId(namespace, name, port, index === 0 ? undefined : family)
      return { id, port, family, vip, external: externalAddressesOfPort(external, port) }
    }),
  )
  // `flatMap` makes room for 17. A copy has no room for more.
  return all.slice()
}

/** Claims an address that a port has in several kinds once, as the kind that goes before the others. */
export function claimsOf({ id, port, family, vip, external }: PortOfFamily): readonly Claim[] {
  const kinds = new Map<string, ClaimKind>([[claimKey({ ip: vip }, port, family), 'vip']])
  const claim = (address: ExternalAddress, kind: ClaimKind) => {
    const key = claimKey(address, port, family)
    if (!kinds.has(key)) kinds.set(key, kind)
  }
  if (external?.nodePort !== undefined) claim({ nodePort: external.nodePort }, 'node-port')
  for (const ip of external?.loadBalancerIPs ?? []) claim({ ip }, 'load-balancer')
  for (const ip of external?.externalIPs ?? []) claim({ ip }, 'external')
  return [...kinds].map(([key, kind]) => ({ id, key, kind }))
}

/** Names an address with the port's number, or a node port of a family. */
export function claimKey(address: ExternalAddress, port: ServicePort, family: IpFamily): string {
  const text = describeAddress(address, port)
  return 'ip' in address ? text : `${family} ${text}`
}
