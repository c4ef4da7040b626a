/** Ranges of addresses in one form, so that different notations of the same addresses compare as equal. */

import type { IpFamily } from '../net/address.ts'
import { familyOfCidr, toIp, toNumber } from '../net/cidr.ts'

const bitsOf = { IPv4: 32, IPv6: 128 } as const

interface Range {
  readonly first: bigint
  readonly last: bigint
}

/**
 * Merges ranges to the same addresses in the fewest ranges, in order, as nft merges what overlaps or touches before it
 * writes to the kernel.
 *
 * @param texts of one family: `10.0.0.0/8`, `10.0.0.1`, `10.0.0.1-10.0.0.9`
 * @returns `10.0.0.0/8`, `10.0.0.1-10.0.0.9`
 */
export function mergeRanges(texts: readonly string[]): readonly string[] {
  const family = familyOfCidr(texts[0] ?? '')
  const ranges = texts.map(text => parseRange(text, bitsOf[family])).sort((a, b) => (a.first < b.first ? -1 : 1))
  const merged: Range[] = []
  for (const range of ranges) {
    const before = merged.at(-1)
    if (before === undefined || range.first > before.last + 1n) merged.push(range)
    else if (range.last > before.last) merged[merged.length - 1] = { first: before.first, last: range.last }
  }
  return merged.map(range => formatRange(range, family))
}

function parseRange(text: string, bits: number): Range {
  const [from, to] = text.split('-') as [string, string?]
  if (to !== undefined) return { first: toNumber(from), last: toNumber(to) }
  const [address, length = String(bits)] = from.split('/') as [string, string?]
  const size = 1n << BigInt(bits - Number(length))
  const first = (toNumber(address) / size) * size
  return { first, last: first + size - 1n }
}

function formatRange({ first, last }: Range, family: IpFamily): string {
  const size = last - first + 1n
  const isBlock = (size & (size - 1n)) === 0n && first % size === 0n
  if (!isBlock) return `${toIp(first, family)}-${toIp(last, family)}`
  return `${toIp(first, family)}/${bitsOf[family] - (size.toString(2).length - 1)}`
}
