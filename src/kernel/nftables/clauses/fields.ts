/** The fields that rules match: of a packet, of its connection, and of its path; and their values. */

import { ipText } from '../../../net/ipbytes.ts'
import type { Family } from '../../family.ts'
import { ctKeys, metaKeys } from '../rules/expression.ts'
import { addressOffsets } from '../rules/registers.ts'

/** The kind of a field's values. */
export type FieldKind =
  | ('address' | 'port' | 'l4proto' | 'mark' | 'direction' | 'address type' | 'name' | 'number')
  | keyof typeof flagNames

/** By their names in nft. */
export const fieldKinds = {
  'meta mark': 'mark',
  'meta l4proto': 'l4proto',
  'meta protocol': 'number',
  'meta iifkind': 'name',
  iifname: 'name',
  oifname: 'name',
  iif: 'number',
  oif: 'number',
  'ct state': 'state',
  'ct status': 'status',
  'ct mark': 'mark',
  'ct direction': 'direction',
  'ct original ip daddr': 'address',
  'ct original ip6 daddr': 'address',
  'tcp flags': 'tcp flags',
  socket: 'number',
  'socket transparent': 'number',
  'socket mark': 'number',
  'socket wildcard': 'number',
} as const satisfies Record<string, FieldKind>

/** The bits of fields that hold flags. */
export const flagNames = {
  state: { 1: 'invalid', 2: 'established', 4: 'related', 8: 'new', 64: 'untracked' },
  status: { 1: 'expected', 2: 'seen-reply', 4: 'assured', 8: 'confirmed', 16: 'snat', 32: 'dnat', 512: 'dying' },
  'tcp flags': { 1: 'fin', 2: 'syn', 4: 'rst', 8: 'psh', 16: 'ack', 32: 'urg' },
} as const satisfies Record<string, Readonly<Record<number, string>>>

/** A field of a packet, its connection, or its path. */
export type Field =
  | { readonly name: keyof typeof fieldKinds }
  /** Masked: all zeros. */
  | { readonly name: 'saddr' | 'daddr'; readonly isMasked: boolean }
  /** `th`: of any protocol. One of a protocol matches packets of that protocol only. */
  | { readonly name: 'sport' | 'dport'; readonly transport: string }
  /** The kind of an address on this node. */
  | { readonly name: 'address type'; readonly of: 'saddr' | 'daddr' }
  /** A random number from `offset` to `offset + mod - 1`. */
  | { readonly name: 'random'; readonly mod: number; readonly offset: number }
  /** Anything else, in words for people. */
  | { readonly name: 'other'; readonly text: string }

/**
 * Addresses as `10.0.0.1` or `10.0.0.0/8`; names of interfaces as they are, those that only begin so as `veth*`; all
 * else numbers, or `0x…` where they are too long for one.
 */
export type FieldValue = string | number

export function kindOf(field: Field): FieldKind {
  switch (field.name) {
    case 'saddr':
    case 'daddr':
      return 'address'
    case 'sport':
    case 'dport':
      return 'port'
    case 'address type':
      return 'address type'
    case 'random':
    case 'other':
      return 'number'
    default:
      return fieldKinds[field.name]
  }
}

export const metaFields: Readonly<Record<number, Field>> = {
  [metaKeys.mark]: { name: 'meta mark' },
  [metaKeys.l4proto]: { name: 'meta l4proto' },
  [metaKeys.protocol]: { name: 'meta protocol' },
  [metaKeys.iifname]: { name: 'iifname' },
  [metaKeys.oifname]: { name: 'oifname' },
  [metaKeys.iif]: { name: 'iif' },
  [metaKeys.oif]: { name: 'oif' },
  [metaKeys.iifkind]: { name: 'meta iifkind' },
}

export const ctFields: Readonly<Record<number, Field>> = {
  [ctKeys.state]: { name: 'ct state' },
  [ctKeys.status]: { name: 'ct status' },
  [ctKeys.mark]: { name: 'ct mark' },
  [ctKeys.direction]: { name: 'ct direction' },
  [ctKeys.destination.ip]: { name: 'ct original ip daddr' },
  [ctKeys.destination.ip6]: { name: 'ct original ip6 daddr' },
}

export const socketFields: Readonly<Record<number, Field>> = {
  0: { name: 'socket transparent' },
  1: { name: 'socket mark' },
  2: { name: 'socket wildcard' },
}

export function otherField(text: string): Field {
  return { name: 'other', text }
}

export function readValue(field: Field, bytes: Uint8Array, family: Family): FieldValue {
  const hex = `0x${Buffer.from(bytes).toString('hex')}`
  switch (kindOf(field)) {
    case 'address':
      return addressOf(bytes, family) ?? hex
    case 'name':
      return nameOf(bytes)
    case 'port':
      return portOf(bytes) ?? hex
    default:
      return numberOf(bytes) ?? hex
  }
}

/** Reads the value that masked bits are compared with; undefined where that has no form here. */
export function readMasked(field: Field, mask: Uint8Array, bytes: Uint8Array) {
  if (kindOf(field) === 'address') {
    const range = rangeOf(bytes, mask)
    return range === undefined ? undefined : { value: range }
  }
  const [bits, value] = [numberOf(mask), numberOf(bytes)]
  return bits === undefined || value === undefined ? undefined : { mask: bits, value }
}

/** Prints an address; one of its first bytes alone as `127.0.0.0/8`. */
function addressOf(bytes: Uint8Array, family: Family): string | undefined {
  if (bytes.length === 16) return ipText(bytes)
  const { length } = addressOffsets[family]
  if (bytes.length > length) return undefined
  const address = ipText(Buffer.concat([bytes, Buffer.alloc(length - bytes.length)]))
  return bytes.length === length ? address : `${address}/${bytes.length * 8}`
}

function rangeOf(bytes: Uint8Array, mask: Uint8Array): string | undefined {
  const bits = [...mask].map(byte => byte.toString(2).padStart(8, '0')).join('')
  const prefix = bits.replace(/0+$/, '')
  const isRange = bytes.length === mask.length && isAddress(bytes) && !prefix.includes('0')
  return isRange ? `${ipText(bytes)}/${prefix.length}` : undefined
}

/** Whether it has the length of an address. */
export function isAddress({ length }: Uint8Array): boolean {
  return length === 4 || length === 16
}

function nameOf(bytes: Uint8Array): string {
  const end = bytes.indexOf(0)
  return end < 0 ? `${Buffer.from(bytes)}*` : Buffer.from(bytes).toString('utf8', 0, end)
}

export function portOf(bytes: Uint8Array): number | undefined {
  return bytes.length === 2 ? Buffer.from(bytes).readUInt16BE() : undefined
}

export function numberOf(bytes: Uint8Array): number | undefined {
  return bytes.length === 4 ? Buffer.from(bytes).readUInt32LE() : bytes.length === 1 ? bytes[0] : undefined
}
