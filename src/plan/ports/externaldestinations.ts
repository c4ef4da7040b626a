/** The destinations by which packets reach a Service port from outside: node port, external and load-balancer IPs. */

import type { IpFamily } from '../../net/address.ts'
import type { PortState } from './port.ts'

/** Stands for an address where any of the node's will do. */
export const anyAddressOf = { IPv4: '0.0.0.0', IPv6: '::' } as const satisfies Record<IpFamily, string>

/** Whether this node port is in kube-apiserver's default `--service-node-port-range`. */
export function isUsualNodePort(port: number): boolean {
  return port >= 30_000 && port <= 32_767
}

/** The kind of key by which packets are looked up: their destination, or `anyAddressOf` its family. */
export type ExternalDestinationKind = 'address' | 'node-port'

export interface ExternalDestination {
  readonly kind: ExternalDestinationKind
  readonly ip: string
  readonly port: number
}

export function externalDestinationsOf({ family, vip, port, external }: PortState): readonly ExternalDestination[] {
  if (!external) return []
  const { nodePort, externalIPs, loadBalancerIPs } = external
  const ips = new Set([...externalIPs, ...loadBalancerIPs])
  // A Service may name its own VIP, which its own elements serve.
  ips.delete(vip)
  const destinations: ExternalDestination[] = [...ips].map(ip => ({ kind: 'address', ip, port: port.port }))
  if (nodePort !== undefined) destinations.push({ kind: 'node-port', ip: anyAddressOf[family], port: nodePort })
  return destinations
}
