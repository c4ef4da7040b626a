/**
 * Which endpoints a node may use for a Service port. The rules are kube-proxy's.
 *
 * An endpoint is usable while it is ready. Where no endpoint is ready, those that are serving although terminating are
 * used (KEP-1669), so that a rolling update never leaves a Service without endpoints that still answer.
 *
 * Traffic policy `Cluster`: endpoints on all nodes, narrowed by topology hints (KEP-2433, KEP-3015) if
 *   - every ready endpoint has hints for nodes and one is for this node: those for this node; else if
 *   - every ready endpoint has hints for zones and one is for this node's zone: those for this zone; else
 *   - all ready ones. The fallback to terminating endpoints ignores hints.
 *
 * Traffic policy `Local` (KEP-2086): only endpoints on this node, without hints, with a fallback of its own to those
 * that terminate. None here but some elsewhere means that traffic is dropped, where no endpoint anywhere means that it
 * is refused.
 *
 * The VIP follows the internal policy; node ports, external and load-balancer IPs follow the external one.
 */

import type { EndpointTraits, SliceEndpoint } from '../../services/objects/endpointslice.ts'
import type { Service, TrafficPolicy } from '../../services/objects/service.ts'
import type { Barred } from '../../services/podindex.ts'

/** The node for which the choice is made. Names and zones that are not known are undefined. */
export interface NodeTopology {
  readonly nodeName: string | undefined
  readonly zone: string | undefined
  /** The addresses and ports on which the agent and its Envoy listen on this node. Default: none. */
  readonly reserved?: ReservedPorts
}

/** Addresses and ports to which no Service may lead. */
export interface ReservedPorts {
  readonly ports: ReadonlySet<number>
  /** Whether the node has this address. */
  readonly hasAddress: (ip: string) => boolean
}

/** Why Envoy may not connect to an endpoint, undefined where it may. */
export type Bar = (endpoint: SliceEndpoint) => Barred | undefined

/** An endpoint of a Service, whatever its port. */
export interface Candidate {
  readonly source: SliceEndpoint
}

export function isLocal(endpoint: SliceEndpoint, topology: NodeTopology): boolean {
  return topology.nodeName !== undefined && endpoint.traits.nodeName === topology.nodeName
}

const isDraining = ({ source }: Candidate) => source.traits.serving && source.traits.terminating

/** Picks those that the node uses by a policy, in the order given. */
export function pick<T extends Candidate>(
  all: readonly T[],
  policy: TrafficPolicy,
  topology: NodeTopology,
): readonly T[] {
  if (policy === 'Cluster') return pickCluster(all, topology)
  return readyOrDraining(all.filter(({ source }) => isLocal(source, topology)))
}

function pickCluster<T extends Candidate>(all: readonly T[], topology: NodeTopology): readonly T[] {
  const ready = all.filter(({ source }) => source.traits.ready)
  return ready.length > 0 ? narrow(ready, topology) : all.filter(isDraining)
}

/** Returns ready ones that `pick` left to other nodes or zones, in the order given. */
export function pickFarther<T extends Candidate>(all: readonly T[], picked: readonly T[]): readonly T[] {
  const near = new Set(picked)
  const ready = all.filter(({ source }) => source.traits.ready)
  // Where none is ready, those picked are about to end, wherever they are.
  return ready.filter(candidate => !near.has(candidate))
}

function readyOrDraining<T extends Candidate>(candidates: readonly T[]): readonly T[] {
  const ready = candidates.filter(({ source }) => source.traits.ready)
  return ready.length > 0 ? ready : candidates.filter(isDraining)
}

/** Applies topology hints: all ready endpoints must have them, and one must be for us, or they are ignored. */
function narrow<T extends Candidate>(ready: readonly T[], topology: NodeTopology): readonly T[] {
  const hinted = (hints: (traits: EndpointTraits) => readonly string[] | undefined, mine: string | undefined) => {
    if (mine === undefined || !ready.every(({ source }) => hints(source.traits)?.length)) return []
    return ready.filter(({ source }) => hints(source.traits)!.includes(mine))
  }
  const forNode = hinted(({ forNodes }) => forNodes, topology.nodeName)
  if (forNode.length > 0) return forNode
  const forZone = hinted(({ forZones }) => forZones, topology.zone)
  return forZone.length > 0 ? forZone : ready
}

/** Whether it answers, chosen or not. */
export function answers({ source }: Candidate): boolean {
  return source.traits.ready || source.traits.serving
}

/**
 * Ranks entries of one endpoint. Of two, one that terminates is a pod whose address another pod has by now. Of two that
 * do or do not, the more usable counts, and of two equal ones the one on this node.
 */
export function preference({ ready, serving, terminating, nodeName }: EndpointTraits, topology: NodeTopology): number {
  const usability = ready ? 2 : Number(serving)
  return 8 * Number(!terminating) + 2 * usability + Number(nodeName !== undefined && nodeName === topology.nodeName)
}

/** Says why this node does not use one that `pick` left out. */
export function whyNot(candidate: Candidate, service: Service, topology: NodeTopology): string {
  const { source } = candidate
  if (service.internalTrafficPolicy === 'Local' && !isLocal(source, topology)) {
    return 'internalTrafficPolicy is Local and it is on another node'
  }
  if (source.traits.ready) return `its topology hints are for ${hintText(source.traits)}`
  if (isDraining(candidate)) return 'terminating, and others are ready'
  return source.traits.terminating ? 'terminating and no longer serving' : 'not ready'
}

function hintText({ forNodes, forZones }: EndpointTraits): string {
  const nodes = forNodes?.length ? [`node ${forNodes.join(', ')}`] : []
  const zones = forZones?.length ? [`zone ${forZones.join(', ')}`] : []
  return [...nodes, ...zones].join(' and ')
}
