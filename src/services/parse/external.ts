/** Reads the fields of a v1 Service that give it external addresses and say whom they admit. */

import { familyOf, isPortNumber } from '../../net/address.ts'
import { familyOfCidr, withoutNested } from '../../net/cidr.ts'
import { unusableAsEndpoint, unusableAsVip } from '../../net/special.ts'
import { isAbsent, type Raw, rawList, rawObject, sharedList, show } from '../../text/raw.ts'
import { readCidr, readIp } from './addresses.ts'
import type { Report } from './kind.ts'

interface ExternalFields {
  readonly externalIPs: readonly string[]
  readonly loadBalancerIPs: readonly string[]
  readonly loadBalancerSourceRanges: readonly string[]
  readonly healthCheckNodePort: number | undefined
}

export function parseExternal(spec: Raw, status: Raw, report: Report): ExternalFields {
  const given = rawList(spec.loadBalancerSourceRanges)
  const ranges = given.flatMap(value => sourceRange(value, report))
  const ips = loadBalancerIPs(status, report)
  // A range that cannot be read must not open to all what it was to close.
  const families = new Set(ranges.map(familyOfCidr))
  const isKept = (ip: string) => ranges.length === given.length || families.has(familyOf(ip)!)
  return {
    externalIPs: addresses(rawList(spec.externalIPs), 'spec.externalIPs', unusableAsEndpoint, report),
    loadBalancerIPs: sharedList(ips.filter(isKept)),
    loadBalancerSourceRanges: sharedList(withoutNested(ranges)),
    healthCheckNodePort: nodePort(spec.healthCheckNodePort, 'spec.healthCheckNodePort', report),
  }
}

/** Reads a node port; undefined for none: Kubernetes writes 0 for "not given". */
export function nodePort(value: unknown, where: string, report: Report): number | undefined {
  if (isAbsent(value) || value === 0) return undefined
  if (isPortNumber(value)) return value
  report('LP213', `${where} ${show(value)} is no port`, 'it is left out; write 1 to 65535')
  return undefined
}

/**
 * Reads ingress IPs. Where `ipMode` is Proxy the load balancer itself ends the connection (KEP-1860), so its address is
 * not ours.
 */
function loadBalancerIPs(status: Raw, report: Report): readonly string[] {
  const ingress = rawList(rawObject(status.loadBalancer).ingress).map(rawObject)
  const vips = ingress.filter(({ ip, ipMode }) => !isAbsent(ip) && ip !== '' && (isAbsent(ipMode) || ipMode === 'VIP'))
  return addresses(
    vips.map(({ ip }) => ip),
    'status.loadBalancer.ingress',
    unusableAsVip,
    report,
  )
}

function addresses(
  values: readonly unknown[],
  where: string,
  unusableAs: (ip: string) => string | undefined,
  report: Report,
): readonly string[] {
  const ips = new Set<string>()
  for (const value of values) {
    const ip = readIp(value)
    if (!ip)
      report('LP213', `${where}: ${show(value)} is no IP address`, 'it is left out; write one IPv4 or IPv6 address')
    else if (unusableAs(ip))
      report('LP213', `${where}: ${ip} is ${unusableAs(ip)}`, 'it is left out; give the Service an address of its own')
    else ips.add(ip)
  }
  return sharedList([...ips])
}

/** Reads a range, around which the API server accepts white space. */
function sourceRange(value: unknown, report: Report): readonly string[] {
  const range = typeof value === 'string' ? readCidr(value.trim()) : undefined
  if (range !== undefined) return [range]
  const remedy = 'it admits nobody; write a CIDR such as 10.0.0.0/8'
  report('LP213', `spec.loadBalancerSourceRanges: ${show(value)} is no CIDR`, remedy)
  return []
}
