/** Service ports of all kinds, some of them with external addresses. */

import type { External, PortState } from '../../plan/ports/port.ts'
import { portState } from './states.ts'

/**
 * Two ports share a VIP, one is of UDP and one of IPv6; two have affinity while they have an even number of endpoints.
 * With some numbers of endpoints there are external addresses, also where the VIP has no endpoint.
 */
export function stateOf(number: number, endpoints: readonly number[]): PortState {
  const vip = number === 5 ? 'fd00::5' : `10.0.0.${number >> 1}`
  const texts = endpoints.map(n => (number === 5 ? `fd01::${n} 80@node1` : `10.1.0.${n}:80@node${n % 2}`))
  const protocol = number === 3 ? 'UDP' : 'TCP'
  const state = portState(`ns/s${number}/p`, vip, texts, {
    port: { name: 'p', protocol, port: 80 + number },
    affinitySeconds: (number === 3 || number === 4) && endpoints.length % 2 === 0 ? 10 : undefined,
  })
  return endpoints.length % 3 === 0 ? state : withOutside(state, number, endpoints.length)
}

export function withOutside(state: PortState, number: number, count: number): PortState {
  const policy = count % 2 === 0 ? 'Local' : 'Cluster'
  const here = state.endpoints.filter(({ nodeName }) => nodeName === 'node1')
  const [ip, range] =
    state.family === 'IPv4' ? [`192.0.2.${number}`, '10.0.0.0/8'] : [`2001:db8::${number}`, 'fd00::/8']
  const external: External = {
    nodePort: count > 2 ? 30_080 + number : undefined,
    externalIPs: [],
    loadBalancerIPs: [ip],
    sourceRanges: count === 4 ? [range, '203.0.113.0/24'] : [],
    policy,
    endpoints: policy === 'Local' ? here : state.endpoints,
    clusterEndpoints: state.endpoints,
    noLocalEndpoints: policy === 'Local' && here.length === 0,
    layer: { wants: 'envoy', protocol: 'http', reason: '' },
  }
  return count === 5 ? { ...state, endpoints: [], external } : { ...state, external }
}
