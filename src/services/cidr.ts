/** Ranges of IP addresses as CIDRs. */

import { canonicalIp, familyOf, type IpFamily } from './address.ts'

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

/** The ranges that none of the others holds; all canonical. Together they hold the same addresses. */
export function withoutNested(ranges: readonly string[]): readonly string[] {
  const distinct = [...new Set(ranges)]
  const lengthOf = (range: string) => Number(range.split('/')[1])
  const holds = (outer: string, inner: string) =>
    lengthOf(outer) < lengthOf(inner) && contains(outer, inner.split('/')[0]!)
  return distinct.filter(range => !distinct.some(other => holds(other, range)))
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
  const canonical = canonicalIp(ip)!
  if (familyOf(canonical) === 'IPv4') return joinBits(canonical.split('.').map(Number), 8)
  const [head = '', tail] = canonical.split('::')
  const [first, last] = [groups(head), groups(tail ?? '')]
  const zeros = new Array<number>(tail === undefined ? 0 : 8 - first.length - last.length).fill(0)
  return joinBits([...first, ...zeros, ...last], 16)
}

/** The 16-bit groups of a part of an IPv6 address, whose tail may be dotted. */
function groups(text: string): readonly number[] {
  if (text === '') return []
  return text.split(':').flatMap(group => {
    if (!group.includes('.')) return [Number.parseInt(group, 16)]
    const [a, b, c, d] = group.split('.').map(Number) as [number, number, number, number]
    return [(a << 8) | b, (c << 8) | d]
  })
}

function joinBits(parts: readonly number[], bits: number): bigint {
  return parts.reduce((sum, part) => (sum << BigInt(bits)) | BigInt(part), 0n)
}

export function toIp(number: bigint, family: IpFamily): string {
  const [count, bits, radix, separator] = family === 'IPv4' ? ([4, 8, 10, '.'] as const) : ([8, 16, 16, ':'] as const)
  const parts = Array.from({ length: count }, (_, index) => {
    const shift = BigInt(bits * (count - 1 - index))
    return ((number >> shift) & ((1n << BigInt(bits)) - 1n)).toString(radix)
  })
  return canonicalIp(parts.join(separator))!
}
