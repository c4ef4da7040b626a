/** Loads fields of a packet, and keys of several fields, into registers, and compares them there. */

import type { Family, Transport } from '../../family.ts'
import { comparisons, ctKeys, type Expression, metaKeys, payloadBases, protocolNumbers } from './expression.ts'
import type { AddressKey, Key, KeyPart, Marked } from './statement.ts'

/** The offsets of the addresses in the network header, and their length, in bytes. */
export const addressOffsets = {
  ip: { saddr: 12, daddr: 16, length: 4 },
  ip6: { saddr: 8, daddr: 24, length: 16 },
} as const satisfies Record<Family, Record<'saddr' | 'daddr' | 'length', number>>

/** The first of the four registers of 16 bytes, and the one for a statement's second value. */
export const [first, second] = [1, 2]

/** Returns the register that begins after so many bytes: one of 16 bytes where possible, else one of 4. */
export function registerAt(bytes: number): number {
  return bytes % 16 === 0 ? 1 + bytes / 16 : 8 + bytes / 4
}

export function load(name: 'meta' | 'ct', key: number): Expression {
  return { name, key, dreg: first }
}

export function loadMark(of: Marked): Expression {
  return load(of, of === 'meta' ? metaKeys.mark : ctKeys.mark)
}

export function loadPort(dreg: number): Expression {
  return { name: 'payload', base: payloadBases.transport, offset: 2, length: 2, dreg }
}

function loadAddress(family: Family, of: 'saddr' | 'daddr', dreg: number): Expression {
  const { [of]: offset, length } = addressOffsets[family]
  return { name: 'payload', base: payloadBases.network, offset, length, dreg }
}

/**
 * Loads the values of a key one behind the other, each from a register's start. A port of one protocol tests it first.
 */
export function loadKey(family: Family, key: Key): readonly Expression[] {
  const transport = key.flatMap(part => (typeof part === 'string' ? (transportOfPort(part) ?? []) : []))[0]
  const loads: Expression[] = transport === undefined ? [] : [...isTransport(transport)]
  let bytes = 0
  for (const part of key) {
    const dreg = registerAt(bytes)
    loads.push(...loadPart(family, part, dreg))
    bytes += isAddress(part) ? addressOffsets[family].length : 4
  }
  return loads
}

function isAddress(part: KeyPart): part is AddressKey {
  return part === 'saddr' || part === 'daddr' || part === 'masked saddr' || part === 'masked daddr'
}

function transportOfPort(part: string): Transport | undefined {
  const [word] = part.split(' ')
  return word === 'tcp' || word === 'udp' || word === 'sctp' ? word : undefined
}

function loadPart(family: Family, part: KeyPart, dreg: number): readonly Expression[] {
  if (typeof part === 'object') {
    const { random: modulus, offset } = part
    return [{ name: 'numgen', dreg, modulus, type: 1, ...(offset > 0 && { offset }) }]
  }
  if (part === 'masked saddr' || part === 'masked daddr') {
    const { length } = addressOffsets[family]
    const zeros = new Uint8Array(length)
    return [
      loadAddress(family, part === 'masked saddr' ? 'saddr' : 'daddr', dreg),
      { name: 'bitwise', sreg: dreg, dreg, length, mask: zeros, xor: zeros },
    ]
  }
  if (part === 'saddr' || part === 'daddr') return [loadAddress(family, part, dreg)]
  if (part === 'l4proto' || part === 'protocol') return [{ name: 'meta', key: metaKeys[part], dreg }]
  return [loadPort(dreg)]
}

export function isTransport(transport: Transport): readonly Expression[] {
  return [load('meta', metaKeys.l4proto), compare('eq', new Uint8Array([protocolNumbers[transport]]))]
}

export function compare(op: 'eq' | 'neq', data: Uint8Array): Expression {
  return { name: 'cmp', sreg: first, op: comparisons[op], data }
}

export function mask(bits: number): Expression {
  return { name: 'bitwise', sreg: first, dreg: first, length: 4, mask: word(bits), xor: word(0) }
}

/** Encodes 32 bits in the machine's byte order, as marks and random numbers are. */
export function word(value: number): Uint8Array {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}

export function be16(value: number): Uint8Array {
  const bytes = Buffer.alloc(2)
  bytes.writeUInt16BE(value)
  return bytes
}

export function padded(text: string, length: number): Uint8Array {
  const bytes = Buffer.alloc(length)
  bytes.write(text)
  return bytes
}
