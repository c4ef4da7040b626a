import type { IpFamily } from '../../../net/address.ts'

/** AF_INET and AF_INET6, by the names that Lightpath has for them. */
export const familyNumbers = { IPv4: 2, IPv6: 10 } as const

export function familyOfNumber(number: number | undefined): IpFamily | undefined {
  if (number === familyNumbers.IPv4) return 'IPv4'
  return number === familyNumbers.IPv6 ? 'IPv6' : undefined
}
