/**
 * The data types of keys and values: the numbers by which nft knows them, which the kernel only hands on, and how a value
 * of each is written in bytes. In a concatenation each value is padded to four bytes.
 */

import type { Family, Transport } from '../../elements.ts'
import { ipBytes, ipText } from '../../../services/ipbytes.ts'
import { MalformedMessage } from '../../netlink/reader.ts'
import { protocolNumbers } from '../rules/compile.ts'
import { protocolName } from '../rules/print.ts'
import type { KeyType } from '../sets.ts'

export interface DataType {
  /** nft's number (TYPE_…). */
  readonly number: number
  readonly length: number
  readonly write: (text: string) => Uint8Array
  readonly read: (bytes: Buffer) => string
}

const etherTypes = { ip: 0x0800, ip6: 0x86dd } as const satisfies Record<Family, number>

const address = (number: number, length: number): DataType => {
  return { number, length, write: ipBytes, read: ipText }
}

const types = {
  ipv4_addr: address(7, 4),
  ipv6_addr: address(8, 16),
  inet_proto: {
    number: 12,
    length: 1,
    write: text => Buffer.from([protocolNumbers[text as Transport]]),
    read: bytes => protocolName(bytes[0]!),
  },
  inet_service: {
    number: 13,
    length: 2,
    write: text => Buffer.from([Number(text) >> 8, Number(text) & 255]),
    read: bytes => String(bytes.readUInt16BE()),
  },
  ether_type: {
    number: 10,
    length: 2,
    write: text => Buffer.from([etherTypes[text as Family] >> 8, etherTypes[text as Family] & 255]),
    read: bytes => (bytes.readUInt16BE() === etherTypes.ip ? 'ip' : 'ip6'),
  },
  integer: {
    number: 4,
    length: 4,
    write: text => new Uint8Array(Uint32Array.of(Number(text)).buffer),
    read: bytes => String(bytes.readUInt32LE()),
  },
} as const satisfies Record<string, DataType>

const byNumber = new Map<number, DataType>(Object.values(types).map(type => [type.number, type]))

export function typeOf(family: Family, type: KeyType): DataType {
  if (type === 'address') return family === 'ip' ? types.ipv4_addr : types.ipv6_addr
  return type === 'number' ? types.integer : types[type]
}

function paddedLength(length: number): number {
  return (length + 3) & ~3
}

/** The number of a concatenation: six bits for each of its types. */
export function concatenatedNumber(parts: readonly DataType[]): number {
  return parts.reduce((number, part) => (number << 6) | part.number, 0)
}

/** The types of a number; undefined where one of them is not known. */
export function typesOfNumber(number: number): readonly DataType[] | undefined {
  const parts: DataType[] = []
  for (let rest = number; rest > 0; rest >>>= 6) {
    const type = byNumber.get(rest & 63)
    if (type === undefined) return undefined
    parts.unshift(type)
  }
  return parts
}

/** How many bytes a value of these types has. A single one is not padded. */
export function lengthOf(parts: readonly DataType[]): number {
  const [single, ...more] = parts
  if (single !== undefined && more.length === 0) return single.length
  return parts.reduce((sum, { length }) => sum + paddedLength(length), 0)
}

/** `10.0.0.1 . tcp . 80` */
export function writeValue(parts: readonly DataType[], text: string): Buffer {
  const bytes = Buffer.alloc(lengthOf(parts))
  const words = parts.length === 1 ? [text] : text.split(' . ')
  let at = 0
  parts.forEach((part, index) => {
    bytes.set(part.write(words[index]!), at)
    at += paddedLength(part.length)
  })
  return bytes
}

/** Throws MalformedMessage where the bytes are too few. */
export function readValue(parts: readonly DataType[], bytes: Buffer): string {
  let text = ''
  let at = 0
  for (const part of parts) {
    if (bytes.length < at + part.length) throw new MalformedMessage(`a value of ${bytes.length} bytes`)
    text += `${at === 0 ? '' : ' . '}${part.read(bytes.subarray(at, at + part.length))}`
    at += paddedLength(part.length)
  }
  return text
}
