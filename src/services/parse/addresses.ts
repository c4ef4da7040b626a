/**
 * Reads addresses and ranges as Kubernetes does, whose older versions wrote some that strict readers reject
 * (k8s.io/utils/net: ParseIPSloppy, ParseCIDRSloppy): decimal numbers may begin with zeros, and an IPv4 address may be
 * written as IPv6. Everything beyond has the canonical text.
 */

import { canonicalIp } from '../../net/address.ts'
import { canonicalCidr } from '../../net/cidr.ts'

const mapped = '::ffff:'
/** The length of the part of an IPv6 address that says that an IPv4 address follows. */
const mappedBits = 96

/** Reads an address; undefined for none. */
export function readIp(value: unknown): string | undefined {
  if (typeof value !== 'string') return undefined
  const ip = canonicalIp(withoutZeros(value))
  return ip?.startsWith(mapped) && ip.includes('.') ? ip.slice(mapped.length) : ip
}

/** Reads a range; undefined for none. */
export function readCidr(value: unknown): string | undefined {
  if (typeof value !== 'string') return undefined
  const [, address = '', digits = ''] = /^([^/]+)\/(\d{1,3})$/.exec(value) ?? []
  const ip = readIp(address)
  if (ip === undefined) return undefined
  const isMapped = address.includes(':') && !ip.includes(':')
  const length = Number(digits) - (isMapped ? mappedBits : 0)
  return length < 0 ? undefined : canonicalCidr(`${ip}/${length}`)
}

/** Cuts leading zeros of the dotted numbers at the end. */
function withoutZeros(text: string): string {
  return text.replace(/(?<=^|[:.])0+(?=\d+(\.|$))/g, (zeros, _, at: number) => (isDotted(text, at) ? '' : zeros))
}

function isDotted(text: string, at: number): boolean {
  return at > text.lastIndexOf(':') && text.includes('.')
}
