/** Ranges of addresses as numbers, for the ends of intervals. */

import { ipBytes, ipText } from '../../../services/ipbytes.ts'

export interface ByteRange {
  readonly first: Buffer
  readonly last: Buffer
}

/** Of a CIDR, or of one address. */
export function rangeOf(text: string): ByteRange {
  const [ip, prefix] = text.split('/') as [string, string?]
  const address = ipBytes(ip)
  const bits = prefix === undefined ? address.length * 8 : Number(prefix)
  const [first, last] = [Buffer.from(address), Buffer.from(address)]
  for (let index = 0; index < address.length; index++) {
    const free = 0xff >> Math.min(8, Math.max(0, bits - index * 8))
    first[index] = address[index]! & ~free
    last[index] = address[index]! | free
  }
  return { first, last }
}

/** The address behind it; undefined behind the last of all. */
export function after(address: Buffer): Buffer | undefined {
  const next = Buffer.from(address)
  for (let index = next.length - 1; index >= 0; index--) {
    next[index] = (next[index]! + 1) & 255
    if (next[index] !== 0) return next
  }
  return undefined
}

export function before(address: Buffer): Buffer {
  const previous = Buffer.from(address)
  for (let index = previous.length - 1; index >= 0; index--) {
    previous[index] = (previous[index]! - 1) & 255
    if (previous[index] !== 255) return previous
  }
  return previous
}

/** A CIDR where the range is one, an address where it holds one, else both ends with a dash. */
export function rangeText({ first, last }: ByteRange): string {
  if (first.equals(last)) return ipText(first)
  const bits = commonBits(first, last)
  const range = rangeOf(`${ipText(first)}/${bits}`)
  const isCidr = range.first.equals(first) && range.last.equals(last)
  return isCidr ? `${ipText(first)}/${bits}` : `${ipText(first)}-${ipText(last)}`
}

function commonBits(a: Buffer, b: Buffer): number {
  const index = a.findIndex((byte, at) => byte !== b[at])
  return index * 8 + Math.clz32(a[index]! ^ b[index]!) - 24
}
