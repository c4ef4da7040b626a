/** The external addresses of a Service port: node port, external IPs and load-balancer IPs. */

import type { IpFamily } from '../../net/address.ts'
import type { PortState } from './port.ts'

/** Stands in place of an address where any of the node's will do. */
export const anyAddressOf = { IPv4: '0.0.0.0', IPv6: '::' } as const satisfies Record<IpFamily, string>

/** Whether this node port is in kube-apiserver's default `--service-node-port-range`. */
export function isUsualNodePort(port: number): boolean {
  return port >= 30_000 && port <= 32_767
}

/** The kind of key by which packets are looked up: their destination, or `anyAddressOf` its family. */
export type PlaceKind = 'address' | 'node-port'

/** One external address and port of a Service port. */
export interface Place {
  readonly kind: PlaceKind
  readonly ip: string
  readonly port: number
}

export function placesOf({ family, vip, port, external }: PortState): readonly Place[] {
  if (!external) return []
  const { nodePort, externalIPs, loadBalancerIPs } = external
  const ips = new Set([...externalIPs, ...loadBalancerIPs])
  // A Service may name its own VIP, which its own elements serve.
  ips.delete(vip)
  const places: Place[] = [...ips].map(ip => ({ kind: 'address', ip, port: port.port }))
  if (nodePort !== undefined) places.push({ kind: 'node-port', ip: anyAddressOf[family], port: nodePort })
  return places
}
