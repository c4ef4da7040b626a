/**
 * The expressions of nf_tables, which the kernel evaluates one after the other on 64 bytes of registers. Names and
 * fields are those of the kernel (include/uapi/linux/netfilter/nf_tables.h).
 */

import type { Family, Transport } from '../../family.ts'

export interface LoadPayload {
  readonly name: 'payload'
  readonly base: number
  readonly offset: number
  readonly length: number
  readonly dreg?: number
  readonly sreg?: number
  readonly checksumType?: number
  readonly checksumOffset?: number
  readonly checksumFlags?: number
}

export interface VerdictData {
  readonly code: number
  readonly chain?: string
}

export type Expression =
  | LoadPayload
  | { readonly name: 'meta'; readonly key: number; readonly dreg?: number; readonly sreg?: number }
  | {
      readonly name: 'ct'
      readonly key: number
      readonly dreg?: number
      readonly sreg?: number
      readonly direction?: number
    }
  | { readonly name: 'cmp'; readonly sreg: number; readonly op: number; readonly data: Uint8Array }
  | {
      readonly name: 'bitwise'
      readonly sreg: number
      readonly dreg: number
      readonly length: number
      readonly mask?: Uint8Array
      readonly xor?: Uint8Array
    }
  | {
      readonly name: 'lookup'
      readonly set: string
      readonly setId?: number
      readonly sreg: number
      readonly dreg?: number
      readonly flags?: number
    }
  | {
      readonly name: 'immediate'
      readonly dreg: number
      readonly data?: Uint8Array
      readonly verdict?: VerdictData
    }
  | { readonly name: 'socket'; readonly key: number; readonly dreg: number }
  | { readonly name: 'fib'; readonly dreg: number; readonly result: number; readonly flags: number }
  | {
      readonly name: 'numgen'
      readonly dreg: number
      readonly modulus: number
      readonly type: number
      readonly offset?: number
    }
  | {
      readonly name: 'nat'
      readonly type: number
      readonly family: number
      readonly addressMin?: number
      readonly addressMax?: number
      readonly portMin?: number
      readonly portMax?: number
      readonly flags?: number
    }
  | { readonly name: 'redir'; readonly portMin?: number; readonly portMax?: number; readonly flags?: number }
  | { readonly name: 'masq'; readonly flags?: number; readonly portMin?: number; readonly portMax?: number }
  | { readonly name: 'tproxy'; readonly family: number; readonly address?: number; readonly port?: number }
  | { readonly name: 'reject'; readonly type: number; readonly code?: number }
  | {
      readonly name: 'dynset'
      readonly set: string
      readonly op: number
      readonly keyReg: number
      readonly timeout?: bigint
    }
  | { readonly name: 'counter'; readonly bytes?: bigint; readonly packets?: bigint }
  | { readonly name: 'notrack' }
  /** Of a table, such as a counter. */
  | { readonly name: 'objref'; readonly type?: number; readonly object?: string }
  /** Extensions of xtables, as iptables' rules have them: their name, and what the extension itself reads. */
  | { readonly name: 'match' | 'target'; readonly extension: string; readonly info?: Uint8Array }
  | { readonly name: 'other'; readonly type: string }

/** Numbers of the kernel's. */
export const payloadBases = { link: 0, network: 1, transport: 2 } as const
export const protocolNumbers = { tcp: 6, udp: 17, sctp: 132 } as const satisfies Record<Transport, number>
export const metaKeys = {
  protocol: 1,
  mark: 3,
  iif: 4,
  oif: 5,
  iifname: 6,
  oifname: 7,
  nfproto: 15,
  l4proto: 16,
  iifkind: 26,
} as const
export const ctKeys = { state: 0, direction: 1, status: 2, mark: 3, destination: { ip: 20, ip6: 22 } } as const
export const comparisons = { eq: 0, neq: 1, lt: 2, lte: 3, gt: 4, gte: 5 } as const
export const fib = { addressType: 3, ofSource: 1, ofDestination: 2, local: 2 } as const
export const natFlags = { portGiven: 2, random: 4, persistent: 8, fullyRandom: 16 } as const
/** NF_INET_…, which families of tables are, too. */
export const hooksFamily = { ip: 2, ip6: 10 } as const satisfies Record<Family, number>
/** ICMP and ICMPv6 port unreachable, and a TCP reset. */
export const rejects = {
  ip: { type: 0, code: 3 },
  ip6: { type: 0, code: 4 },
  reset: { type: 1, code: 0 },
} as const
export const verdictCodes = { drop: 0, accept: 1, continue: -1, return: -5, jump: -3, goto: -4 } as const
/** Of the kind of a network link, such as `bridge`. */
export const linkKindLength = 16
/** In the header of TCP. */
export const tcpFlags = { offset: 13, fin: 1, syn: 2, rst: 4, ack: 16 } as const
/** NFT_OBJECT_COUNTER. */
export const counterType = 1
