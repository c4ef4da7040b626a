/**
 * The data types of keys and values: the numbers by which nft knows them, which the kernel only hands on, and what a
 * value of each is, also in words.
 */

import type { Family } from '../../family.ts'
import { addressOf, type Bytes, be16, etherTypes, wordAt } from '../bytes.ts'
import { protocolName } from '../clauses/words.ts'
import type { KeyType } from '../sets.ts'

/** A part of a key or value: an address, or what else it is as a number. */
export type Part = string | number

export interface DataType {
  /** nft's number (TYPE_…). */
  readonly number: number
  readonly length: number
  readonly read: (bytes: Bytes) => Part
  readonly text: (bytes: Bytes) => string
  readonly isAddress?: boolean
}

const types = {
  ipv4_addr: address(7, 4),
  ipv6_addr: address(8, 16),
  inet_proto: numeric(12, 1, bytes => bytes.charCodeAt(0), protocolName),
  inet_service: numeric(13, 2, bytes => be16(bytes, 0)),
  ether_type: numeric(
    10,
    2,
    bytes => be16(bytes, 0),
    type => (type === be16(etherTypes.ip, 0) ? 'ip' : 'ip6'),
  ),
  integer: numeric(4, 4, bytes => wordAt(bytes, 0)),
} satisfies Record<string, DataType>

function address(number: number, length: number): DataType {
  return { number, length, read: addressOf, text: addressOf, isAddress: true }
}

function numeric(
  number: number,
  length: number,
  read: (bytes: Bytes) => number,
  text: (value: number) => string = String,
): DataType {
  return { number, length, read, text: bytes => text(read(bytes)) }
}

const byNumber = new Map<number, DataType>(Object.values(types).map(type => [type.number, type]))

export function typeOf(family: Family, type: KeyType): DataType {
  if (type === 'address') return family === 'ip' ? types.ipv4_addr : types.ipv6_addr
  return type === 'number' ? types.integer : types[type]
}

function paddedLength(length: number): number {
  return (length + 3) & ~3
}

/** Makes the number of a concatenation: six bits for each of its types. */
export function concatenatedNumber(parts: readonly DataType[]): number {
  return parts.reduce((number, part) => (number << 6) | part.number, 0)
}

/** Returns the types of a number; undefined where one of them is not known. */
export function typesOfNumber(number: number): readonly DataType[] | undefined {
  const parts: DataType[] = []
  for (let rest = number; rest > 0; rest >>>= 6) {
    const type = byNumber.get(rest & 63)
    if (type === undefined) return undefined
    parts.unshift(type)
  }
  return parts
}

/** Returns how many bytes a value of these types has. A single one is not padded. */
export function lengthOf(parts: readonly DataType[]): number {
  const [single, ...more] = parts
  if (single !== undefined && more.length === 0) return single.length
  return parts.reduce((sum, { length }) => sum + paddedLength(length), 0)
}

/** Splits a value into its parts: `10.0.0.1`, 6, 80. */
export function partsOf(types: readonly DataType[], bytes: Bytes): readonly Part[] {
  return eachPart(types, bytes, ({ read }, part) => read(part))
}

/** Its parts in words: `10.0.0.1`, `tcp`, `80`. */
export function wordsOf(types: readonly DataType[], bytes: Bytes): readonly string[] {
  return eachPart(types, bytes, ({ text }, part) => text(part))
}

function eachPart<T>(types: readonly DataType[], bytes: Bytes, take: (type: DataType, part: Bytes) => T): readonly T[] {
  let at = 0
  return types.map(type => {
    const taken = take(type, bytes.slice(at, at + type.length))
    at += paddedLength(type.length)
    return taken
  })
}
