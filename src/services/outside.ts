/** How a port of a Service is reached from outside the cluster, before endpoints are chosen for it. */

import { familyOf, hostPort, type IpFamily } from './address.ts'
import type { External } from './port.ts'
import type { Service, ServicePort } from './service.ts'

export type Outside = Omit<External, 'endpoints' | 'clusterEndpoints' | 'onlyElsewhere' | 'layer'>

/** Undefined where only the VIP leads to the port; then `externalTrafficPolicy` says nothing. */
export function outsideOf(service: Service, port: ServicePort, family: IpFamily): Outside | undefined {
  return reachable({
    nodePort: port.nodePort,
    externalIPs: ofFamily(service.externalIPs, family),
    loadBalancerIPs: ofFamily(service.loadBalancerIPs, family),
    sourceRanges: sourceRanges(service, family),
    policy: service.externalTrafficPolicy,
  })
}

/** What of it a port may claim for itself: addresses and node ports belong to one Service, as VIPs do. */
export function onlyOwned(outside: Outside, owns: (address: OutsideAddress) => boolean): Outside | undefined {
  const { nodePort } = outside
  return reachable({
    ...outside,
    nodePort: nodePort !== undefined && owns({ nodePort }) ? nodePort : undefined,
    externalIPs: outside.externalIPs.filter(ip => owns({ ip })),
    loadBalancerIPs: outside.loadBalancerIPs.filter(ip => owns({ ip })),
  })
}

export type OutsideAddress = { readonly ip: string } | { readonly nodePort: number }

export function addressesOf({ nodePort, externalIPs, loadBalancerIPs }: Outside): readonly OutsideAddress[] {
  const ips = new Set([...externalIPs, ...loadBalancerIPs])
  return [...(nodePort === undefined ? [] : [{ nodePort }]), ...[...ips].map(ip => ({ ip }))]
}

/** `192.0.2.1:80/TCP` or `node port 30080/TCP`. */
export function describeAddress(address: OutsideAddress, { port, protocol }: ServicePort): string {
  const place = 'ip' in address ? hostPort(address.ip, port) : `node port ${address.nodePort}`
  return `${place}/${protocol}`
}

function reachable(outside: Outside): Outside | undefined {
  return addressesOf(outside).length > 0 ? outside : undefined
}

/** A range of all addresses is the same as no range. */
function sourceRanges(service: Service, family: IpFamily): readonly string[] {
  const ranges = service.loadBalancerSourceRanges.filter(range => familyOf(range.split('/', 1)[0]!) === family)
  return ranges.some(range => range.endsWith('/0')) ? [] : ranges
}

function ofFamily(ips: readonly string[], family: IpFamily): readonly string[] {
  return ips.filter(ip => familyOf(ip) === family)
}
