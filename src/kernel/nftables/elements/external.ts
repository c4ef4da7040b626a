/**
 * The elements of external addresses: node ports, external IPs and load-balancer IPs. Each external address has
 * elements of its own, keyed as those of a VIP, so that a packet is looked up by nothing but what it carries, and a
 * change of a Service touches its own elements only. A node port has the unspecified address in place of the node's.
 *
 *     `external`         externalTrafficPolicy Cluster: `jump mark-masquerade`, since the endpoint may be elsewhere;
 *                        Local: `goto local-policy`, which asks where the packet comes from:
 *                          a pod of the cluster, or the node itself → `services`
 *                          elsewhere                                → `local-services`
 *     `services`         → all endpoints, in slots from 0
 *     `local-services`   → those of this node, in slots from `localSlots`; none: `drop`
 *     `no-endpoints`     → `goto refuse`, where there is no endpoint anywhere
 *     `envoy-external`, `envoy-local`
 *                        to Envoy first, by policy; Local where endpoints are here, and from elsewhere only
 *
 * With session affinity the chains of the port (affinity.ts) take the place of slots.
 */

import { isWithin, withoutNested } from '../../../net/cidr.ts'
import {
  type ExternalDestination,
  type ExternalDestinationKind,
  externalDestinationsOf,
} from '../../../plan/ports/externaldestinations.ts'
import type { Endpoint, PortState } from '../../../plan/ports/port.ts'
import { familyNames, type Transport, transportOf } from '../../family.ts'
import { addressBytes, addressPortBytes, type Bytes, dropBytes, gotoBytes, jumpBytes, rangeBytes } from '../bytes.ts'
import { type ElementSink, elementName } from './elements.ts'
import { frontendKey } from './ownobjects.ts'
import { planSlots } from './slots.ts'
import { planSources } from './sources.ts'

/** The first slot to which `local-services` leads: no Service has so many endpoints. */
export const localSlots = 65_536

/** The endpoints for external clients, as they are in slots. */
export interface ExternalSlots {
  /** All that the node may use as if the policy were Cluster. */
  readonly cluster: readonly Endpoint[]
  /** Those on this node where the policy is Local; else empty. */
  readonly local: readonly Endpoint[]
}

/** Verdicts of session affinity in place of slots; undefined without it. */
export type ExternalVerdicts = Readonly<Record<keyof ExternalSlots, Bytes>> | undefined

/** The chains that values of `external` lead to. */
export const markMasquerade = 'mark-masquerade'
export const localPolicy: Readonly<Record<ExternalDestinationKind, string>> = {
  address: 'local-policy',
  'node-port': 'local-policy-node-port',
}

/** The chain that chooses among so many endpoints. */
export interface LoadBalancingChain {
  readonly transport: Transport
  readonly count: number
  readonly kind?: ExternalDestinationKind
  readonly isLocal?: boolean
}

/** `endpoints-tcp-3`, `endpoints-tcp-3-node-port-local` */
export function loadBalancingChainName({
  transport,
  count,
  kind = 'address',
  isLocal = false,
}: LoadBalancingChain): string {
  return `endpoints-${transport}-${count}${kind === 'address' ? '' : '-node-port'}${isLocal ? '-local' : ''}`
}

/** Reads such a name; undefined for the names of other chains. */
export function parseLoadBalancingChainName(name: string): LoadBalancingChain | undefined {
  const match = /^endpoints-(tcp|udp|sctp)-(\d+)(-node-port)?(-local)?$/.exec(name)
  if (!match) return undefined
  const [, transport, count, nodePort, local] = match
  const kind = nodePort === undefined ? 'address' : 'node-port'
  return { transport: transport as Transport, count: Number(count), kind, isLocal: local !== undefined }
}

/**
 * Plans the elements of all external addresses of a port.
 * @param beside slots of the same addresses: what is alike there is left out
 */
export function planExternal(
  elements: ElementSink,
  state: PortState,
  slots: ExternalSlots,
  affinity: ExternalVerdicts,
  redirected: readonly Bytes[] = [],
  beside?: ExternalSlots,
): void {
  for (const place of externalDestinationsOf(state)) {
    planDestination(elements, state, place, slots, affinity, beside)
    if (redirected.includes(addressPortBytes(place))) planRedirection(elements, state, place, slots)
  }
}

/** Plans `loadBalancerSourceRanges`: they hold for load-balancer IPs alone, before anything else is looked up. */
export function planSourceRanges(elements: ElementSink, state: PortState, admitsNode: boolean): void {
  const { loadBalancerIPs = [], sourceRanges = [] } = state.external ?? {}
  if (sourceRanges.length === 0) return
  const family = familyNames[state.family]
  for (const ip of loadBalancerIPs) {
    // Where a load balancer's IP is an address of the node as well, the node's own packets to it come from that.
    const own = admitsNode && !isWithin(sourceRanges, ip) ? [addressBytes(ip).repeat(2)] : []
    const key = frontendKey(ip, transportOf[state.port.protocol], state.port.port)
    for (const [name, value] of planSources(family, key, [...keysOfRanges(sourceRanges), ...own]))
      elements.set(name, value)
  }
}

/** Once a list: all ports and load-balancer IPs of a Service have the same. */
const keys = new WeakMap<readonly string[], readonly Bytes[]>()

function keysOfRanges(ranges: readonly string[]): readonly Bytes[] {
  const known = keys.get(ranges)
  if (known) return known
  const made = withoutNested(ranges).map(rangeBytes)
  keys.set(ranges, made)
  return made
}

function planDestination(
  elements: ElementSink,
  state: PortState,
  { kind, ip, port }: ExternalDestination,
  { cluster, local }: ExternalSlots,
  affinity: ExternalVerdicts,
  beside: ExternalSlots | undefined,
): void {
  const family = familyNames[state.family]
  const transport = transportOf[state.port.protocol]
  const key = frontendKey(ip, transport, port)
  if (cluster.length === 0) {
    elements.set(elementName(family, 'no-endpoints', key), gotoBytes('refuse'))
    return
  }

  const owner = { family, transport, ip, port }
  // Where there is no endpoint anywhere, there is no slot.
  const known = beside && beside.cluster.length > 0 ? beside : undefined
  const choose = (isLocal: boolean, { length: count }: readonly Endpoint[]) =>
    affinity?.[isLocal ? 'local' : 'cluster'] ?? gotoBytes(loadBalancingChainName({ transport, count, kind, isLocal }))
  const isLocalPolicy = state.external!.policy === 'Local'
  const policy = isLocalPolicy ? gotoBytes(localPolicy[kind]) : jumpBytes(markMasquerade)
  elements.set(elementName(family, 'external', key), policy)
  elements.set(elementName(family, 'services', key), choose(false, cluster))
  if (!affinity) planSlots(elements, owner, cluster, known?.cluster)
  if (!isLocalPolicy) return
  const verdict = local.length === 0 ? dropBytes : choose(true, local)
  elements.set(elementName(family, 'local-services', key), verdict)
  if (!affinity) planSlots(elements, owner, local, known?.local, localSlots)
}

/** Envoy takes nothing that the kernel refuses or drops. */
function planRedirection(
  elements: ElementSink,
  { family, external, port: { protocol } }: PortState,
  { ip, port }: ExternalDestination,
  { cluster, local }: ExternalSlots,
): void {
  const isLocalPolicy = external!.policy === 'Local'
  if (protocol !== 'TCP' || (isLocalPolicy ? local : cluster).length === 0) return
  const set = isLocalPolicy ? 'envoy-local' : 'envoy-external'
  elements.set(elementName(familyNames[family], set, addressPortBytes({ ip, port })), '')
}
