/** Ranges of addresses, so that different words for the same addresses compare as equal. */

import { isIPv4 } from 'node:net'
import { canonicalIp } from '../services/address.ts'

interface Range {
  readonly first: bigint
  readonly last: bigint
}

/**
 * The same addresses in the fewest ranges, in order. nft merges what overlaps or touches before it tells the kernel.
 *
 * @param texts of one family: `10.0.0.0/8`, `10.0.0.1`, `10.0.0.1-10.0.0.9`
 * @returns `10.0.0.0/8`, `10.0.0.1-10.0.0.9`
 */
export function mergeRanges(texts: readonly string[]): readonly string[] {
  const bits = texts[0]?.includes(':') ? 128 : 32
  const ranges = texts.map(text => parseRange(text, bits)).sort((a, b) => (a.first < b.first ? -1 : 1))
  const merged: Range[] = []
  for (const range of ranges) {
    const before = merged.at(-1)
    if (before === undefined || range.first > before.last + 1n) merged.push(range)
    else if (range.last > before.last) merged[merged.length - 1] = { first: before.first, last: range.last }
  }
  return merged.map(range => formatRange(range, bits))
}

function parseRange(text: string, bits: number): Range {
  const [from, to] = text.split('-') as [string, string?]
  if (to !== undefined) return { first: toNumber(from), last: toNumber(to) }
  const [address, length = String(bits)] = from.split('/') as [string, string?]
  const size = 1n << BigInt(bits - Number(length))
  const first = (toNumber(address) / size) * size
  return { first, last: first + size - 1n }
}

function formatRange({ first, last }: Range, bits: number): string {
  const size = last - first + 1n
  const isBlock = (size & (size - 1n)) === 0n && first % size === 0n
  if (!isBlock) return `${toText(first, bits)}-${toText(last, bits)}`
  return `${toText(first, bits)}/${bits - (size.toString(2).length - 1)}`
}

function toNumber(ip: string): bigint {
  if (isIPv4(ip)) return ip.split('.').reduce((sum, part) => sum * 256n + BigInt(part), 0n)
  const dotted = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(ip)
  const tail = dotted ? toNumber(dotted[2]!) : 0n
  const groups = (dotted ? `${dotted[1]}${(tail >> 16n).toString(16)}:${(tail & 0xffffn).toString(16)}` : ip).split(
    '::',
  )
  const [head = [], rest = []] = groups.map(part => (part === '' ? [] : part.split(':')))
  const all = [...head, ...new Array<string>(8 - head.length - rest.length).fill('0'), ...rest]
  return all.reduce((sum, part) => sum * 65536n + BigInt(`0x${part}`), 0n)
}

function toText(address: bigint, bits: number): string {
  const part = (index: number, size: number) => (address >> BigInt(index * size)) & ((1n << BigInt(size)) - 1n)
  if (bits === 32) return [3, 2, 1, 0].map(index => part(index, 8)).join('.')
  return canonicalIp([7, 6, 5, 4, 3, 2, 1, 0].map(index => part(index, 16).toString(16)).join(':'))!
}
