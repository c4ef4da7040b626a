/** The external addresses of a Service's port, before endpoints are chosen for it. */

import { hostPort, type IpFamily } from '../../net/address.ts'
import { familyOfCidr } from '../../net/cidr.ts'
import type { Service, ServicePort } from '../../services/objects/service.ts'
import type { External } from './port.ts'

export type ExternalAddresses = Omit<External, 'endpoints' | 'clusterEndpoints' | 'noLocalEndpoints' | 'layer'>

/** Reads what all ports of a Service have in common: once, so that the lists are the same for each. */
export function externalAddressesOfAll(service: Service, family: IpFamily): ExternalAddresses {
  return {
    nodePort: undefined,
    externalIPs: ofFamily(service.externalIPs, family),
    loadBalancerIPs: ofFamily(service.loadBalancerIPs, family),
    sourceRanges: sourceRanges(service, family),
    policy: service.externalTrafficPolicy,
  }
}

/**
 * Returns the external addresses of a port; undefined where only the VIP leads to it: then `externalTrafficPolicy` has
 * no effect.
 */
export function externalAddressesOfPort(
  all: ExternalAddresses,
  { nodePort }: ServicePort,
): ExternalAddresses | undefined {
  return reachable({ ...all, nodePort })
}

/** Keeps what a port may claim for itself: addresses and node ports belong to one Service, as VIPs do. */
export function onlyOwned(
  external: ExternalAddresses,
  owns: (address: ExternalAddress) => boolean,
): ExternalAddresses | undefined {
  const { nodePort } = external
  return reachable({
    ...external,
    nodePort: nodePort !== undefined && owns({ nodePort }) ? nodePort : undefined,
    externalIPs: external.externalIPs.filter(ip => owns({ ip })),
    loadBalancerIPs: external.loadBalancerIPs.filter(ip => owns({ ip })),
  })
}

export type ExternalAddress = { readonly ip: string } | { readonly nodePort: number }

export function addressesOf({ nodePort, externalIPs, loadBalancerIPs }: ExternalAddresses): readonly ExternalAddress[] {
  const ips = new Set([...externalIPs, ...loadBalancerIPs])
  return [...(nodePort === undefined ? [] : [{ nodePort }]), ...[...ips].map(ip => ({ ip }))]
}

/** `192.0.2.1:80/TCP` or `node port 30080/TCP`. */
export function describeAddress(address: ExternalAddress, { port, protocol }: ServicePort): string {
  const text = 'ip' in address ? hostPort(address.ip, port) : `node port ${address.nodePort}`
  return `${text}/${protocol}`
}

function reachable(external: ExternalAddresses): ExternalAddresses | undefined {
  const { nodePort, externalIPs, loadBalancerIPs } = external
  return nodePort !== undefined || externalIPs.length + loadBalancerIPs.length > 0 ? external : undefined
}

/** Reads source ranges: one of all addresses is the same as none. */
function sourceRanges(service: Service, family: IpFamily): readonly string[] {
  const ranges = ofFamily(service.loadBalancerSourceRanges, family)
  return ranges.some(range => range.endsWith('/0')) ? [] : ranges
}

/** Returns the list itself where all are of the family, so that what is memoized by it is found again. */
function ofFamily(texts: readonly string[], family: IpFamily): readonly string[] {
  const isOf = (text: string) => familyOfCidr(text) === family
  return texts.every(isOf) ? texts : texts.filter(isOf)
}
