/**
 * The data types of keys and values: the numbers by which nft knows them, which the kernel only hands on, and what a value of
 * each says in words.
 */

import type { Family } from '../../elements.ts'
import { addressOf, type Bytes, be16, etherTypes, wordAt } from '../bytes.ts'
import { protocolName } from '../rules/print.ts'
import type { KeyType } from '../sets.ts'

export interface DataType {
  /** nft's number (TYPE_…). */
  readonly number: number
  readonly length: number
  readonly text: (bytes: Bytes) => string
  readonly isAddress?: boolean
}

const types = {
  ipv4_addr: { number: 7, length: 4, text: addressOf, isAddress: true },
  ipv6_addr: { number: 8, length: 16, text: addressOf, isAddress: true },
  inet_proto: { number: 12, length: 1, text: bytes => protocolName(bytes.charCodeAt(0)) },
  inet_service: { number: 13, length: 2, text: bytes => String(be16(bytes, 0)) },
  ether_type: { number: 10, length: 2, text: bytes => (bytes === etherTypes.ip ? 'ip' : 'ip6') },
  integer: { number: 4, length: 4, text: bytes => String(wordAt(bytes, 0)) },
} satisfies Record<string, DataType>

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

/** The words of a value, a part each: `10.0.0.1`, `tcp`, `80`. */
export function wordsOf(parts: readonly DataType[], bytes: Bytes): readonly string[] {
  let at = 0
  return parts.map(({ length, text }) => {
    const word = text(bytes.slice(at, at + length))
    at += paddedLength(length)
    return word
  })
}
