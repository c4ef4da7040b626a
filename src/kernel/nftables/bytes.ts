/**
 * Keys and values of elements as the kernel has them: bytes as a string of one character each, because a Map finds
 * strings by what they hold. In a key or value of several parts each part is padded to four bytes.
 */

import { ipBytes, ipText, ipv4Number } from '../../net/ipbytes.ts'
import type { Family, Transport } from '../family.ts'
import { protocolNumbers, type VerdictData, verdictCodes } from './rules/expression.ts'

export type Bytes = string

const { fromCharCode } = String

/** Throws TypeError where the text is no address. */
export function addressBytes(ip: string): Bytes {
  const ipv4 = ipv4Number(ip)
  if (ipv4 === undefined) return fromCharCode(...ipBytes(ip))
  return fromCharCode(ipv4 >>> 24, (ipv4 >>> 16) & 255, (ipv4 >>> 8) & 255, ipv4 & 255)
}

/** The protocol of a table's packets, as a key of its own. */
export const etherTypes = { ip: '\x08\x00', ip6: '\x86\xdd' } as const satisfies Record<Family, Bytes>

export const addressLengths = { ip: 4, ip6: 16 } as const satisfies Record<Family, number>

export function addressOf(bytes: Bytes): string {
  return ipText(numbersOf(bytes))
}

function numbersOf(bytes: Bytes): Uint8Array {
  return Buffer.from(bytes, 'latin1')
}

/** A port as a part among others. */
export function portPart(port: number): Bytes {
  return fromCharCode(port >> 8, port & 255, 0, 0)
}

export function protocolPart(transport: Transport): Bytes {
  return protocolParts[transport]
}

const protocolParts: Readonly<Record<Transport, Bytes>> = {
  tcp: fromCharCode(protocolNumbers.tcp, 0, 0, 0),
  udp: fromCharCode(protocolNumbers.udp, 0, 0, 0),
  sctp: fromCharCode(protocolNumbers.sctp, 0, 0, 0),
}

/** Encodes a number in the machine's byte order, as random numbers are. */
export function wordBytes(number: number): Bytes {
  return fromCharCode(number & 255, (number >> 8) & 255, (number >> 16) & 255, number >>> 24)
}

export function be16(bytes: Bytes, at: number): number {
  return (bytes.charCodeAt(at) << 8) | bytes.charCodeAt(at + 1)
}

export function wordAt(bytes: Bytes, at: number): number {
  return be16(bytes, at + 2) === 0
    ? bytes.charCodeAt(at) | (bytes.charCodeAt(at + 1) << 8)
    : Buffer.from(bytes.slice(at, at + 4), 'latin1').readUInt32LE()
}

/** `10.0.0.1 . 80`: address and port. */
export function addressPortBytes({ ip, port }: { readonly ip: string; readonly port: number }): Bytes {
  return addressBytes(ip) + portPart(port)
}

/** Reads what `addressPortBytes` made. */
export function addressPortOf(bytes: Bytes): { readonly ip: string; readonly port: number } {
  const length = bytes.length - 4
  return { ip: addressOf(bytes.slice(0, length)), port: be16(bytes, length) }
}

/** Encodes a verdict as the value of an element: its code in one byte, and the name of the chain. */
export function verdictBytes({ code, chain = '' }: VerdictData): Bytes {
  return fromCharCode(code & 255) + chain
}

export function gotoBytes(chain: string): Bytes {
  return verdictBytes({ code: verdictCodes.goto, chain })
}

export function jumpBytes(chain: string): Bytes {
  return verdictBytes({ code: verdictCodes.jump, chain })
}

export const dropBytes = verdictBytes({ code: verdictCodes.drop })

/** Decodes a verdict of at least one byte. */
export function verdictOf(bytes: Bytes): VerdictData {
  const code = (bytes.charCodeAt(0) << 24) >> 24
  return bytes.length === 1 ? { code } : { code, chain: bytes.slice(1) }
}

/** Encodes a range as the value of a key: its first address and its last. */
export function rangeBytes(cidr: string): Bytes {
  const [ip, prefix] = cidr.split('/') as [string, string?]
  const address = ipBytes(ip)
  const bits = prefix === undefined ? address.length * 8 : Number(prefix)
  const free = address.map((_, index) => 0xff >> Math.min(8, Math.max(0, bits - index * 8)))
  return (
    fromCharCode(...address.map((byte, index) => byte & ~free[index]!)) +
    fromCharCode(...address.map((byte, index) => byte | free[index]!))
  )
}

/** Prints a CIDR where the range is one, an address where it holds one, else both ends with a dash. */
export function rangeText(range: Bytes): string {
  const [first, last] = [range.slice(0, range.length / 2), range.slice(range.length / 2)]
  const address = addressOf(first)
  if (first === last) return address
  const cidr = `${address}/${commonBits(first, last)}`
  return rangeBytes(cidr) === range ? cidr : `${address}-${addressOf(last)}`
}

function commonBits(a: Bytes, b: Bytes): number {
  let index = 0
  while (a[index] === b[index]) index++
  return index * 8 + Math.clz32(a.charCodeAt(index) ^ b.charCodeAt(index)) - 24
}

/** Returns the next address; undefined after the last of all. */
export function after(address: Bytes): Bytes | undefined {
  return neighbour(address, 1)
}

/** Returns the previous address; undefined before the first of all. */
export function before(address: Bytes): Bytes | undefined {
  return neighbour(address, -1)
}

function neighbour(address: Bytes, step: 1 | -1): Bytes | undefined {
  const numbers = numbersOf(address)
  const carried = step === 1 ? 0 : 255
  for (let index = numbers.length - 1; index >= 0; index--) {
    numbers[index] = (numbers[index]! + step) & 255
    if (numbers[index] !== carried) return fromCharCode(...numbers)
  }
  return undefined
}
