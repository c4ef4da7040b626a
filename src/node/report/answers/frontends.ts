/** Lists what clients of this node connect to, whichever layer serves it, for `lightpath top`. */

import { frontendsOf, resourceNameOf } from '../../../envoy/resources/frontend.ts'
import { portsByFamily } from '../../../plan/ports/families.ts'
import type { Endpoint, PortState } from '../../../plan/ports/port.ts'
import { portLabel, type Service } from '../../../services/objects/service.ts'
import type { Agent } from '../../agent.ts'

export interface FrontendRow {
  readonly namespace: string
  readonly service: string
  /** The port's name, or its number where it has none. */
  readonly port: string
  /** `kube-proxy`: a Service without the label, with `--services=labelled`. */
  readonly layer: 'envoy' | 'kernel' | 'kube-proxy'
  readonly protocol: string
  readonly number: number
  /** The VIP, external and load-balancer IPs, canonical. */
  readonly addresses: readonly string[]
  readonly nodePort: number | undefined
  /** Names of the port's clusters in Envoy. */
  readonly clusters: readonly string[]
  /** The endpoints that Envoy balances by latency. */
  readonly byLatency: readonly Pick<Endpoint, 'ip' | 'port'>[]
}

/** Returns one row for each Service port and IP family, of one namespace if one is given. */
export function frontends(
  { plan, envoy, overlaySwitch }: Agent,
  namespace: string | undefined,
): readonly FrontendRow[] {
  const layerOf = ({ id }: PortState) => (envoy.isRedirected(id) && !overlaySwitch.isOff ? 'envoy' : 'kernel')
  const own = [...plan.states()].map(state => ({
    ...rowOf(state, state, state.external, layerOf(state)),
    clusters: frontendsOf(state).map(resourceNameOf),
    byLatency: endpointsByLatency(envoy, state.id),
  }))
  const others = [...plan.unlabelled()].flatMap(({ service }) =>
    portsByFamily(service).map(port => rowOf(service, port, port.external, 'kube-proxy')),
  )
  return [...own, ...others].filter(each => namespace === undefined || each.namespace === namespace)
}

function endpointsByLatency(envoy: Agent['envoy'], id: string): FrontendRow['byLatency'] {
  const frontend = envoy.frontendOf(id)
  if (!frontend || envoy.lbPolicyOf(frontend) !== 'PEAK_EWMA') return []
  return [...frontend.endpoints, ...(frontend.spillOver ?? [])].map(({ ip, port }) => ({ ip, port }))
}

function rowOf(
  { namespace, name }: Pick<Service, 'namespace' | 'name'>,
  { port, vip }: Pick<PortState, 'port' | 'vip'>,
  external: Pick<NonNullable<PortState['external']>, 'nodePort' | 'externalIPs' | 'loadBalancerIPs'> | undefined,
  layer: FrontendRow['layer'],
): FrontendRow {
  return {
    namespace,
    service: name,
    port: portLabel(port),
    layer,
    protocol: port.protocol,
    number: port.port,
    addresses: [vip, ...(external?.externalIPs ?? []), ...(external?.loadBalancerIPs ?? [])],
    nodePort: external?.nodePort,
    clusters: [],
    byLatency: [],
  }
}
