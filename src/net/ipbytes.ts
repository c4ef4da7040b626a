/** IP addresses as bytes in network order: 4 of IPv4, 16 of IPv6. */

import { isIPv6 } from 'node:net'

/** Throws TypeError where the text is no address. */
export function ipBytes(text: string): Uint8Array {
  const bytes = text.includes(':') ? ipv6Bytes(text) : ipv4Bytes(text)
  if (bytes === undefined) throw new TypeError(`${text} is no IP address`)
  return bytes
}

function ipv4Bytes(text: string): Uint8Array | undefined {
  const number = ipv4Number(text)
  return number === undefined ? undefined : Uint8Array.of(number >>> 24, number >>> 16, number >>> 8, number)
}

/**
 * The address as an unsigned number of 32 bits; undefined where the text is no IPv4 address. Character by character, with
 * nothing allocated: the kernel layer asks for each endpoint of the node.
 */
export function ipv4Number(text: string): number | undefined {
  let [number, part, dots, digits] = [0, 0, 0, 0]
  for (let index = 0; index < text.length; index++) {
    const digit = text.charCodeAt(index) - 48
    if (digit === -2 && digits > 0 && dots < 3) {
      number = (number << 8) | part
      part = 0
      digits = 0
      dots++
      continue
    }
    part = part * 10 + digit
    if (digit < 0 || digit > 9 || part > 255) return undefined
    digits++
  }
  return dots === 3 && digits > 0 ? ((number << 8) | part) >>> 0 : undefined
}

function ipv6Bytes(text: string): Uint8Array | undefined {
  if (!isIPv6(text) || text.includes('%')) return undefined
  const [head, tail] = text.split('::') as [string, string | undefined]
  const [before, after] = [groupBytes(head), groupBytes(tail ?? '')]
  const bytes = new Uint8Array(16)
  bytes.set(before)
  bytes.set(after, 16 - after.length)
  return bytes
}

/** Of a part of an IPv6 address, whose end may be dotted. */
function groupBytes(text: string): readonly number[] {
  if (text === '') return []
  return text.split(':').flatMap(group => {
    if (group.includes('.')) return [...ipv4Bytes(group)!]
    const number = Number.parseInt(group, 16)
    return [number >> 8, number & 255]
  })
}

/** Canonical (RFC 5952), as `canonicalIp` has it. Of 4 or 16 bytes. */
export function ipText(bytes: ArrayLike<number>): string {
  if (bytes.length === 4) return `${bytes[0]}.${bytes[1]}.${bytes[2]}.${bytes[3]}`
  const groups = Array.from({ length: 8 }, (_, index) => (bytes[2 * index]! << 8) | bytes[2 * index + 1]!)
  const isMapped = groups.slice(0, 5).every(group => group === 0) && groups[5] === 0xffff
  if (isMapped) return `::ffff:${bytes[12]}.${bytes[13]}.${bytes[14]}.${bytes[15]}`
  const { start, length } = longestZeros(groups)
  const words = (some: readonly number[]) => some.map(group => group.toString(16)).join(':')
  if (length < 2) return words(groups)
  return `${words(groups.slice(0, start))}::${words(groups.slice(start + length))}`
}

/** The first of the longest runs. */
function longestZeros(groups: readonly number[]): { start: number; length: number } {
  let longest = { start: 0, length: 0 }
  let start = 0
  for (const [index, group] of groups.entries()) {
    if (group !== 0) start = index + 1
    else if (index + 1 - start > longest.length) longest = { start, length: index + 1 - start }
  }
  return longest
}
