/** IP addresses and transport protocols as Kubernetes writes them. */

import { isIPv4, isIPv6 } from 'node:net'

export type Protocol = 'TCP' | 'UDP' | 'SCTP'
export type IpFamily = 'IPv4' | 'IPv6'

/** The family of an address, or undefined when the text is no IP address. */
export function familyOf(ip: string): IpFamily | undefined {
  if (isIPv4(ip)) return 'IPv4'
  return isIPv6(ip) && !ip.includes('%') ? 'IPv6' : undefined
}

/** The canonical text of an address (RFC 5952 for IPv6), so that equal addresses are equal strings; undefined for no address. */
export function canonicalIp(ip: string): string | undefined {
  const family = familyOf(ip)
  if (family !== 'IPv6') return family && ip
  const canonical = new URL(`http://[${ip}]`).hostname.slice(1, -1)
  // RFC 5952 section 5: IPv4-mapped addresses keep their dotted tail, as Go prints them.
  const mapped = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(canonical)
  if (!mapped) return canonical
  const [high, low] = [Number.parseInt(mapped[1]!, 16), Number.parseInt(mapped[2]!, 16)]
  return `::ffff:${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`
}

/** `10.0.0.1:80` or `[fd00::1]:80`. */
export function hostPort(ip: string, port: number): string {
  return ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`
}

/** What `hostPort` wrote. */
export function ofHostPort(text: string): { readonly ip: string; readonly port: number } {
  const at = text.lastIndexOf(':')
  return { ip: text.slice(0, at).replace(/^\[|\]$/g, ''), port: Number(text.slice(at + 1)) }
}

export function isPortNumber(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 1 && (value as number) <= 65535
}
