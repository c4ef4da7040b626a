/** The ports of a Service, each in the families of its VIPs, and what each of them claims for itself alone. */

import { familyOf, hostPort, type IpFamily } from './address.ts'
import {
  addressesOf,
  describeAddress,
  type Outside,
  type OutsideAddress,
  outsideOfAll,
  outsideOfPort,
} from './outside.ts'
import { portId } from './port.ts'
import type { Service, ServicePort } from './service.ts'

export interface PortOfFamily {
  readonly id: string
  readonly port: ServicePort
  readonly family: IpFamily
  readonly vip: string
  readonly outside: Outside | undefined
}

export interface Claim {
  /** Port state id. */
  readonly id: string
  readonly key: string
  /** Of a VIP: the key of the same place as one outside, which its owner has only while nobody has the VIP. */
  readonly outsideKey?: string
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

export function claimsOf({ id, port, family, vip, outside }: PortOfFamily): readonly Claim[] {
  const places = outside ? addressesOf(outside).map(address => ({ id, key: outsideKey(address, port, family) })) : []
  return [{ id, key: vipKey(vip, port), outsideKey: outsideKey({ ip: vip }, port, family) }, ...places]
}

export function vipKey(vip: string, port: ServicePort): string {
  return `${port.protocol} ${hostPort(vip, port.port)}`
}

/** Apart from the keys of VIPs: an external IP, which any user may write, never keeps a Service from its VIP, but gives way. */
export function outsideKey(address: OutsideAddress, port: ServicePort, family: IpFamily): string {
  return `outside ${family} ${describeAddress(address, port)}`
}
