/** What clients of this node connect to, whoever serves it, for `lightpath top`. */

import { frontendsOf, resourceNameOf } from '../../envoy/resources/frontend.ts'
import { portsByFamily } from '../../plan/ports/families.ts'
import type { PortState } from '../../plan/ports/port.ts'
import { portLabel, type Service } from '../../services/objects/service.ts'
import type { Agent } from '../agent.ts'

export interface FrontendRow {
  readonly namespace: string
  readonly service: string
  /** Its name, or its number where it has none. */
  readonly port: string
  /** `kube-proxy`: a Service without the label, with `--services=labelled`. */
  readonly layer: 'envoy' | 'kernel' | 'kube-proxy'
  readonly protocol: string
  readonly number: number
  /** The VIP, external and load-balancer IPs, canonical. */
  readonly addresses: readonly string[]
  readonly nodePort: number | undefined
  /** Names of its clusters in Envoy. */
  readonly clusters: readonly string[]
}

/** One for each Service port and IP family, of one namespace where one is given. */
export function frontends(
  { plan, envoy, overlaySwitch }: Agent,
  namespace: string | undefined,
): readonly FrontendRow[] {
  const layerOf = ({ id }: PortState) => (envoy.isRedirected(id) && !overlaySwitch.isOff ? 'envoy' : 'kernel')
  const own = [...plan.states()].map(state => ({
    ...rowOf(state, state, state.external, layerOf(state)),
    clusters: frontendsOf(state).map(resourceNameOf),
  }))
  const others = [...plan.unlabelled()].flatMap(({ service }) =>
    portsByFamily(service).map(port => rowOf(service, port, port.outside, 'kube-proxy')),
  )
  return [...own, ...others].filter(each => namespace === undefined || each.namespace === namespace)
}

function rowOf(
  { namespace, name }: Pick<Service, 'namespace' | 'name'>,
  { port, vip }: Pick<PortState, 'port' | 'vip'>,
  outside: Pick<NonNullable<PortState['external']>, 'nodePort' | 'externalIPs' | 'loadBalancerIPs'> | undefined,
  layer: FrontendRow['layer'],
): FrontendRow {
  return {
    namespace,
    service: name,
    port: portLabel(port),
    layer,
    protocol: port.protocol,
    number: port.port,
    addresses: [vip, ...(outside?.externalIPs ?? []), ...(outside?.loadBalancerIPs ?? [])],
    nodePort: outside?.nodePort,
    clusters: [],
  }
}
