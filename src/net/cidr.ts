/** Ranges of IP addresses as CIDRs. */

import { familyOf, type IpFamily } from './address.ts'
import { ipBytes, ipText } from './ipbytes.ts'

const bitsOf = { IPv4: 32, IPv6: 128 } as const satisfies Record<IpFamily, number>

/** The canonical text of a range, such as 10.0.0.0/8 for 10.1.2.3/8, so that equal ranges are equal strings; undefined for no range. */
export function canonicalCidr(text: string): string | undefined {
  const [, address = '', digits = ''] = /^([^/]+)\/(\d{1,3})$/.exec(text) ?? []
  const family = familyOf(address)
  const length = Number(digits)
  if (!family || length > bitsOf[family]) return undefined
  return `${toIp((toNumber(address) >> hostBits(family, length)) << hostBits(family, length), family)}/${length}`
}

export function familyOfCidr(cidr: string): IpFamily {
  return cidr.includes(':') ? 'IPv6' : 'IPv4'
}

/** @param range canonical */
export function contains(range: string, ip: string): boolean {
  const [address, digits] = range.split('/') as [string, string]
  const family = familyOf(ip)
  if (family !== familyOf(address)) return false
  const bits = hostBits(family!, Number(digits))
  return toNumber(ip) >> bits === toNumber(address) >> bits
}

/** A range as numbers. */
interface Interval {
  readonly range: string
  readonly family: IpFamily
  readonly first: bigint
  readonly hostBits: bigint
}

/** The ranges that none of the others holds, in order of family and address; all canonical. Together they hold the same addresses. */
export function withoutNested(ranges: readonly string[]): readonly string[] {
  return disjoint(ranges).map(({ range }) => range)
}

/** Sorted, so that whatever holds a range is the last one kept: one pass, however many there are. */
function disjoint(ranges: readonly string[]): readonly Interval[] {
  const kept: Interval[] = []
  for (const next of ranges.map(toInterval).sort(compareIntervals)) {
    const last = kept.at(-1)
    if (!last || !holds(last, next.family, next.first)) kept.push(next)
  }
  return kept
}

function toInterval(range: string): Interval {
  const slash = range.indexOf('/')
  const family = familyOfCidr(range)
  const bits = hostBits(family, Number(range.slice(slash + 1)))
  return { range, family, first: toNumber(range.slice(0, slash)), hostBits: bits }
}

/** The wider of two that begin alike comes first. */
function compareIntervals(a: Interval, b: Interval): number {
  if (a.family !== b.family) return a.family < b.family ? -1 : 1
  if (a.first !== b.first) return a.first < b.first ? -1 : 1
  return Number(b.hostBits - a.hostBits)
}

function holds(interval: Interval, family: IpFamily, number: bigint): boolean {
  return interval.family === family && number >> interval.hostBits === interval.first >> interval.hostBits
}

/** Sorted once a list: a Service's is asked for each of its ports and addresses. */
const intervals = new WeakMap<readonly string[], readonly Interval[]>()

/** Whether one of the ranges holds the address; all canonical. */
export function isWithin(ranges: readonly string[], ip: string): boolean {
  let sorted = intervals.get(ranges)
  if (!sorted) {
    sorted = disjoint(ranges)
    intervals.set(ranges, sorted)
  }
  const [family, first] = [familyOf(ip)!, toNumber(ip)]
  const asked = { range: ip, family, first, hostBits: 0n }
  let [low, high] = [0, sorted.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if (compareIntervals(sorted[middle]!, asked) <= 0) low = middle + 1
    else high = middle
  }
  const before = sorted[low - 1]
  return before !== undefined && holds(before, family, first)
}

/** The fewest ranges that hold all addresses of the family but those of `range`; canonical, as it is. */
export function complement(range: string): readonly string[] {
  const [address, digits] = range.split('/') as [string, string]
  const family = familyOfCidr(range)
  return Array.from({ length: Number(digits) }, (_, index) => {
    const bits = hostBits(family, index + 1)
    return `${toIp(((toNumber(address) >> bits) ^ 1n) << bits, family)}/${index + 1}`
  })
}

function hostBits(family: IpFamily, length: number): bigint {
  return BigInt(bitsOf[family] - length)
}

/** @param ip an address of either family */
export function toNumber(ip: string): bigint {
  return BigInt(`0x${Buffer.from(ipBytes(ip)).toString('hex')}`)
}

export function toIp(number: bigint, family: IpFamily): string {
  return ipText(Buffer.from(number.toString(16).padStart(bitsOf[family] / 4, '0'), 'hex'))
}
