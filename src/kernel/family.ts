/** IP families and transport protocols, as netfilter and we call them. */

import type { IpFamily, Protocol } from '../net/address.ts'
import { anyAddressOf } from '../plan/ports/externaldestinations.ts'

/** A family of nftables tables; our table is named `lightpath` in each. */
export type Family = 'ip' | 'ip6'

export const familyNames: Readonly<Record<IpFamily, Family>> = { IPv4: 'ip', IPv6: 'ip6' }

export function familiesOf(families: readonly IpFamily[]): readonly Family[] {
  return families.map(family => familyNames[family])
}

export type Transport = 'tcp' | 'udp' | 'sctp'

export const transports: readonly Transport[] = ['tcp', 'udp', 'sctp']
export const transportOf = { TCP: 'tcp', UDP: 'udp', SCTP: 'sctp' } as const satisfies Record<Protocol, Transport>

/** The unspecified address; it keys node ports in place of the node's addresses. */
export const anyAddress = { ip: anyAddressOf.IPv4, ip6: anyAddressOf.IPv6 } as const satisfies Record<Family, string>
