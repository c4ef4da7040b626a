import type { Protocol } from '../services/address.ts'

/** By what nft prints: names, or numbers with -p. */
export const protocols: Readonly<Record<string, Protocol>> = {
  ...{ tcp: 'TCP', udp: 'UDP', sctp: 'SCTP' },
  ...{ 6: 'TCP', 17: 'UDP', 132: 'SCTP' },
}
