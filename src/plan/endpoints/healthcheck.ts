/**
 * Derives what each node answers load balancers that ask for endpoints of a Service: `healthCheckNodePort`, which
 * Services of type LoadBalancer with externalTrafficPolicy Local have. The rules are kube-proxy's
 * (pkg/proxy/healthcheck).
 */

import { familyOf, type IpFamily } from '../../net/address.ts'
import type { EndpointSlice } from '../../services/objects/endpointslice.ts'
import type { Service } from '../../services/objects/service.ts'

/**
 * One Service on one family's addresses of the node; a dual-stack Service has two, each with its family's endpoints.
 */
export interface HealthCheck {
  readonly namespace: string
  readonly name: string
  readonly family: IpFamily
  readonly port: number
  /**
   * How many different addresses on this node are ready: terminating ones do not count, though they may still serve.
   */
  readonly localEndpoints: number
}

export function healthChecksOf(
  service: Service,
  slices: Iterable<EndpointSlice>,
  nodeName: string | undefined,
): readonly HealthCheck[] {
  const { namespace, name, type, externalTrafficPolicy, healthCheckNodePort: port } = service
  if (type !== 'LoadBalancer' || externalTrafficPolicy !== 'Local' || port === undefined) return none
  const ready = { IPv4: new Set<string>(), IPv6: new Set<string>() }
  for (const { family, ports, endpoints } of slices) {
    if (ports.length === 0) continue
    for (const { ip, traits } of endpoints) {
      if (traits.ready && traits.nodeName !== undefined && traits.nodeName === nodeName) ready[family].add(ip)
    }
  }
  return service.clusterIPs.map(vip => {
    const family = familyOf(vip)!
    return { namespace, name, family, port, localEndpoints: ready[family].size }
  })
}

const none: readonly HealthCheck[] = Object.freeze([])
