/**
 * Rules as typed objects. From a rule come what the kernel is sent (compile.ts), the text for people (clauses/read.ts,
 * clauses/print.ts) and what the packet tracer follows (kernel/tracer/tracer.ts).
 */

import type { Transport } from '../../family.ts'
import { type VerdictData, verdictCodes } from './expression.ts'

/** An address of a packet as a key; masked: all zeros, as node ports are keyed. */
export type AddressKey = 'saddr' | 'daddr' | 'masked saddr' | 'masked daddr'

/**
 * The key by which a set or map is looked up. A port of one transport protocol matches packets of that protocol only.
 */
export type KeyPart = AddressKey | 'l4proto' | 'th dport' | `${Transport} dport` | 'protocol' | RandomNumber

/** A number from `offset` to `offset + random - 1`. */
export interface RandomNumber {
  readonly random: number
  readonly offset: number
}

export type Key = readonly KeyPart[]

export interface Endpoint {
  readonly ip: string
  readonly port: number
}

export type Marked = 'meta' | 'ct'

export type Statement =
  /** Matches what is in the set, or not. */
  | { readonly kind: 'lookup'; readonly key: Key; readonly set: string; readonly isNot: boolean }
  | { readonly kind: 'verdict map'; readonly key: Key; readonly map: string }
  | { readonly kind: 'verdict'; readonly verdict: VerdictData }
  | { readonly kind: 'mark'; readonly of: Marked; readonly bit: number; readonly isNot: boolean }
  | { readonly kind: 'set mark'; readonly of: Marked; readonly bit: number; readonly on: boolean }
  | { readonly kind: 'transport'; readonly transport: Transport }
  | { readonly kind: 'port'; readonly transport: Transport; readonly port: number }
  /** Of a TCP connection: SYN without ACK. Behind a statement that asks for TCP. */
  | { readonly kind: 'first segment' }
  /** Of a TCP connection: neither FIN nor RST. */
  | { readonly kind: 'not ending' }
  /** @param range one address, or a CIDR whose prefix is of whole bytes */
  | { readonly kind: 'address'; readonly of: 'saddr' | 'daddr'; readonly range: string; readonly isNot: boolean }
  | { readonly kind: 'local address'; readonly of: 'saddr' | 'daddr' }
  | { readonly kind: 'new connection' }
  | { readonly kind: 'direction'; readonly direction: 'original' | 'reply' }
  /** Of a connection that was to go there before any translation. */
  | { readonly kind: 'original destination'; readonly ip: string }
  /** Of a connection whose destination was translated, or was not. */
  | { readonly kind: 'translated'; readonly isNot: boolean }
  | { readonly kind: 'from bridge' }
  /** `veth*` matches all names that begin so. */
  | { readonly kind: 'interface'; readonly of: 'iifname' | 'oifname'; readonly name: string; readonly isNot: boolean }
  /** Of a socket that is not transparent. */
  | { readonly kind: 'opaque socket' }
  | { readonly kind: 'random zero'; readonly mod: number }
  | { readonly kind: 'tproxy'; readonly port: number }
  | { readonly kind: 'redirect'; readonly port: number }
  | { readonly kind: 'masquerade' }
  | { readonly kind: 'reject'; readonly with: 'tcp reset' | 'port unreachable' }
  | { readonly kind: 'dnat'; readonly to: Endpoint }
  | { readonly kind: 'dnat by map'; readonly key: Key; readonly map: string }
  /** To one of these at random; the map is a part of the rule. */
  | { readonly kind: 'dnat to one of'; readonly endpoints: readonly Endpoint[] }
  /**
   * Puts the key into a set for so long, or keeps it there for as long again. Matches nothing where the set is full.
   */
  | { readonly kind: 'remember'; readonly key: Key; readonly set: string; readonly seconds: number }
  /** Counts in a counter of the table. */
  | { readonly kind: 'counter'; readonly counter: string }
  /** Conntrack does not see the packet, nor does NAT. */
  | { readonly kind: 'notrack' }
  | { readonly kind: 'set address'; readonly of: 'saddr' | 'daddr'; readonly ip: string }

export type Rule = readonly Statement[]

export const accept: Statement = { kind: 'verdict', verdict: { code: verdictCodes.accept } }
export const drop: Statement = { kind: 'verdict', verdict: { code: verdictCodes.drop } }
export const masquerade: Statement = { kind: 'masquerade' }
export const newConnection: Statement = { kind: 'new connection' }

export function goto(chain: string): Statement {
  return { kind: 'verdict', verdict: { code: verdictCodes.goto, chain } }
}

export function jump(chain: string): Statement {
  return { kind: 'verdict', verdict: { code: verdictCodes.jump, chain } }
}

export function inSet(key: Key, set: string): Statement {
  return { kind: 'lookup', key, set, isNot: false }
}

export function notInSet(key: Key, set: string): Statement {
  return { kind: 'lookup', key, set, isNot: true }
}

export function verdictMap(key: Key, map: string): Statement {
  return { kind: 'verdict map', key, map }
}

export function hasMark(of: Marked, bit: number): Statement {
  return { kind: 'mark', of, bit, isNot: false }
}

export function lacksMark(of: Marked, bit: number): Statement {
  return { kind: 'mark', of, bit, isNot: true }
}

export function setMark(of: Marked, bit: number): Statement {
  return { kind: 'set mark', of, bit, on: true }
}

export function clearMark(of: Marked, bit: number): Statement {
  return { kind: 'set mark', of, bit, on: false }
}

export function ofTransport(transport: Transport): Statement {
  return { kind: 'transport', transport }
}

export function toLocalAddress(of: 'saddr' | 'daddr'): Statement {
  return { kind: 'local address', of }
}

/** Matches packets from an address or range, or not. */
export function from(range: string, isNot = false): Statement {
  return { kind: 'address', of: 'saddr', range, isNot }
}

export function to(range: string): Statement {
  return { kind: 'address', of: 'daddr', range, isNot: false }
}

export function leavingBy(name: string, isNot = false): Statement {
  return { kind: 'interface', of: 'oifname', name, isNot }
}

export function count(counter: string): Statement {
  return { kind: 'counter', counter }
}
