/** IP addresses as the kernel has them: 4 or 16 bytes in network order. */

import { familyOf } from '../../services/address.ts'

/** Throws TypeError where the text is no address. */
export function addressBytes(text: string): Buffer {
  const family = familyOf(text)
  if (family === 'IPv4') return Buffer.from(text.split('.').map(Number))
  if (family === undefined) throw new TypeError(`${text} is no IP address`)
  const [head, tail] = text.split('::') as [string, string | undefined]
  const before = groupsOf(head)
  const after = groupsOf(tail ?? '')
  const groups = [...before, ...Array<number>(8 - before.length - after.length).fill(0), ...after]
  return Buffer.from(groups.flatMap(group => [group >> 8, group & 255]))
}

function groupsOf(text: string): readonly number[] {
  if (text === '') return []
  return text.split(':').flatMap(group => {
    if (!group.includes('.')) return Number.parseInt(group, 16)
    const [a, b, c, d] = group.split('.').map(Number) as [number, number, number, number]
    return [(a << 8) | b, (c << 8) | d]
  })
}

/** Canonical (RFC 5952), as `canonicalIp` has it. Of 4 or 16 bytes. */
export function addressText(bytes: Uint8Array): string {
  if (bytes.length === 4) return `${bytes[0]}.${bytes[1]}.${bytes[2]}.${bytes[3]}`
  const groups = Array.from({ length: 8 }, (_, index) => (bytes[2 * index]! << 8) | bytes[2 * index + 1]!)
  const isMapped = groups.slice(0, 5).every(group => group === 0) && groups[5] === 0xffff
  if (isMapped) return `::ffff:${bytes.subarray(12).join('.')}`
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
