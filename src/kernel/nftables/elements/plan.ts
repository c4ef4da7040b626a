/** Plans what one Service port needs in the kernel, as elements of our maps and sets. Pure. */

import { isWithin } from '../../../net/cidr.ts'
import { externalDestinationsOf } from '../../../plan/ports/externaldestinations.ts'
import { type Endpoint, isForEnvoy, type PortState } from '../../../plan/ports/port.ts'
import { familyNames, transportOf } from '../../family.ts'
import type { PlanOptions } from '../../options.ts'
import { addressBytes, addressPortBytes, type Bytes, dropBytes, gotoBytes } from '../bytes.ts'
import { affinityVerdict, planAffinity } from './affinity.ts'
import { candidatesSet, type ElementName, type ElementSink, type Elements, elementName } from './elements.ts'
import {
  type ExternalSlots,
  type ExternalVerdicts,
  loadBalancingChainName,
  planExternal,
  planSourceRanges,
} from './external.ts'
import { type AffinityScope, affinityKey, frontendKey } from './ownobjects.ts'
import { planSlots, type SlotOwner, slotValue } from './slots.ts'

/** A Service port as it is, or shall be, in the kernel. */
export interface Placement {
  readonly state: PortState
  /**
   * The endpoints in the slots that the kernel chooses from: slot i of N is `[i]`. With affinity in any lasting order.
   */
  readonly slots: readonly Endpoint[]
  /** The same for external clients. */
  readonly external: ExternalSlots
  /** Whether one of the port's source ranges holds the node's own primary address. */
  readonly admitsNode: boolean
  readonly redirected: Redirected
}

/** What of a port goes to Envoy. */
export interface Redirected {
  /** The VIP:port and the external addresses: keys of the sets of the overlay. */
  readonly keys: readonly Bytes[]
  /** Whether the VIP:port goes to the listener that Service ports share. */
  readonly isShared: boolean
}

/** Shared by all ports of which nothing is redirected. */
export const nothingRedirected: Redirected = { keys: [], isShared: false }

/** Lists the keys of all that can be in the overlay: the VIP:port, and the external addresses that are for Envoy. */
export function overlayKeys(state: PortState | undefined): readonly Bytes[] {
  if (state?.port.protocol !== 'TCP') return []
  const destinations = state.external && isForEnvoy(state.external.layer) ? externalDestinationsOf(state) : []
  return [{ ip: state.vip, port: state.port.port }, ...destinations].map(addressPortBytes)
}

/** Makes the placement of a port that the kernel has nothing of yet. */
export function placementOf(state: PortState, redirected: Redirected, nodeAddress?: string): Placement {
  const ranges = state.external?.sourceRanges ?? []
  const admitsNode = nodeAddress !== undefined && isWithin(ranges, nodeAddress)
  return { state, slots: state.endpoints, external: externalSlots(state), admitsNode, redirected }
}

const noExternalSlots: ExternalSlots = { cluster: [], local: [] }

function externalSlots({ external }: PortState): ExternalSlots {
  if (!external) return noExternalSlots
  return { cluster: external.clusterEndpoints, local: external.policy === 'Local' ? external.endpoints : [] }
}

/**
 * Plans a port: one with endpoints is served; one without is refused at once, as by kube-proxy, or dropped where
 * endpoints exist that this node may not use. Only a TCP port that is served can be in the overlay, by its VIP or by
 * external addresses.
 *
 * An endpoint needs its `hairpin` element only on its own node, where it can be its own client; one whose node is not
 * known may be here.
 *
 * @param beside another placement of the port: what is alike in both is left out where that is most of it, so that
 *   comparing the two makes no elements of thousands of endpoints that stay
 */
export function planPort(placement: Placement, options: PlanOptions, beside?: Placement): Elements {
  const elements = new Map<ElementName, Bytes>()
  planInto(elements, placement, options, beside)
  return elements
}

/** Plans as `planPort`, element by element, without a map of them. */
export function planInto(
  elements: ElementSink,
  placement: Placement,
  { families, nodeName, ownsClusterIPs, tracksUse = false }: PlanOptions,
  beside?: Placement,
): void {
  const { state, slots, external, admitsNode, redirected } = placement
  const other = beside && haveSameKeys(state, beside.state) ? beside : undefined
  if (!families.includes(state.family)) return
  const family = familyNames[state.family]
  const transport = transportOf[state.port.protocol]
  const key = portKey(state)
  const affinity = planAffinities(placement)
  for (const [name, value] of affinity?.elements ?? []) elements.set(name, value)
  if (ownsClusterIPs) elements.set(elementName(family, 'cluster-ips', addressBytes(state.vip)), '')
  planExternal(elements, state, external, affinity?.external, redirected.keys, other?.external)
  if (!other || !admitSame(placement, other)) planSourceRanges(elements, state, admitsNode)
  for (const ip of hairpinsOf(placement, nodeName, other))
    elements.set(elementName(family, 'hairpin', addressBytes(ip).repeat(2)), '')
  if (slots.length === 0) {
    elements.set(elementName(family, 'no-endpoints', key), state.noLocalEndpoints ? dropBytes : refuse)
    return
  }
  const verdict = gotoBytes(loadBalancingChainName({ transport, count: slots.length }))
  elements.set(elementName(family, 'services', key), affinity?.vip ?? verdict)
  if (!affinity) planSlots(elements, vipSlots(state), slots, other?.slots)
  const vipPort = addressPortBytes({ ip: state.vip, port: state.port.port })
  if (redirected.keys.includes(vipPort) && state.port.protocol === 'TCP')
    elements.set(elementName(family, redirected.isShared ? 'envoy' : 'envoy-own', vipPort), '')
  if (tracksUse && isForEnvoy(state.layer))
    for (const candidate of overlayKeys(state)) elements.set(elementName(family, candidatesSet, candidate), '')
}

/** Whether slots of the one are keyed as those of the other: by the same VIP and external addresses. */
function haveSameKeys(a: PortState, b: PortState): boolean {
  const [ofA, ofB] = [a.external, b.external]
  return (
    a.affinitySeconds === undefined &&
    b.affinitySeconds === undefined &&
    portKey(a) === portKey(b) &&
    ofA?.nodePort === ofB?.nodePort &&
    ofA?.externalIPs === ofB?.externalIPs &&
    ofA?.loadBalancerIPs === ofB?.loadBalancerIPs
  )
}

/** Whether both have the same source ranges, at the same addresses. */
function admitSame(a: Placement, b: Placement): boolean {
  return a.admitsNode === b.admitsNode && a.state.external?.sourceRanges === b.state.external?.sourceRanges
}

/**
 * Addresses of endpoints that may be their own clients here.
 *
 * @param beside its addresses are left out. What is in the same slot there is not looked at.
 */
function hairpinsOf(placement: Placement, nodeName: string, beside: Placement | undefined): ReadonlySet<string> {
  const ips = new Set<string>()
  const isHere = (endpoint: Endpoint) => endpoint.nodeName === undefined || endpoint.nodeName === nodeName
  const others = beside ? slotListsOf(beside) : []
  for (const [index, list] of slotListsOf(placement).entries()) {
    const other = others[index] ?? []
    for (let slot = 0; slot < list.length; slot++) {
      const endpoint = list[slot]!
      if (endpoint !== other[slot] && isHere(endpoint)) ips.add(endpoint.ip)
    }
  }
  if (ips.size === 0) return ips
  for (const list of new Set(others)) for (const endpoint of list) if (isHere(endpoint)) ips.delete(endpoint.ip)
  return ips
}

function slotListsOf({ slots, external }: Placement): readonly (readonly Endpoint[])[] {
  return [slots, external.cluster, external.local]
}

const refuse = gotoBytes('refuse')

interface Affinities {
  readonly vip: Bytes
  readonly external: ExternalVerdicts
  readonly elements: Elements
}

/**
 * Plans chains such that a client keeps its endpoint over all frontends: those with the same endpoints share a chain,
 * and all share clients.
 */
function planAffinities({ state, slots, external }: Placement): Affinities | undefined {
  const { affinitySeconds: seconds } = state
  if (seconds === undefined) return undefined
  const [family, transport] = [familyNames[state.family], transportOf[state.port.protocol]]
  const port = { family, transport, seconds }
  const elements = new Map<ElementName, Bytes>()
  const keys = new Map<Bytes, Bytes>()
  const chain = (scope: AffinityScope, endpoints: readonly Endpoint[]) => {
    const names = endpoints.map(slotValue).join()
    const known = keys.get(names)
    if (known !== undefined) return affinityVerdict(family, known)
    // Without endpoints nothing leads here.
    if (endpoints.length === 0) return ''
    const key = affinityKey(portKey(state), scope)
    keys.set(names, key)
    for (const [name, value] of planAffinity({ ...port, key, endpoints })) elements.set(name, value)
    return affinityVerdict(family, key)
  }
  const vip = chain('', slots)
  return {
    vip,
    external: { cluster: chain('cluster', external.cluster), local: chain('local', external.local) },
    elements,
  }
}

function portKey({ vip, port }: PortState): Bytes {
  return frontendKey(vip, transportOf[port.protocol], port.port)
}

/** The keys of the port's elements in the kernel: by VIP and by its external addresses. */
export function portKeys(state: PortState): readonly Bytes[] {
  const transport = transportOf[state.port.protocol]
  return [portKey(state), ...externalDestinationsOf(state).map(({ ip, port }) => frontendKey(ip, transport, port))]
}

export function vipSlots({ family, vip, port }: PortState): SlotOwner {
  return { family: familyNames[family], transport: transportOf[port.protocol], ip: vip, port: port.port }
}

/** The elements to remove and to add so that `current` becomes `wanted`. A changed value is in both. */
export interface Difference {
  readonly removed: readonly ElementName[]
  readonly added: readonly (readonly [name: ElementName, value: Bytes])[]
}

export function difference(current: Elements, wanted: Elements): Difference {
  const removed: ElementName[] = []
  const added: [ElementName, Bytes][] = []
  for (const [name, value] of current) if (wanted.get(name) !== value) removed.push(name)
  for (const [name, value] of wanted) if (current.get(name) !== value) added.push([name, value])
  return { removed, added }
}
