import { protocolNumbers } from '../kernel/nftables/rules/expression.ts'
import type { Protocol } from '../net/address.ts'

/** By their numbers in the kernel. */
export const protocols: Readonly<Record<number, Protocol>> = {
  [protocolNumbers.tcp]: 'TCP',
  [protocolNumbers.udp]: 'UDP',
  [protocolNumbers.sctp]: 'SCTP',
}
