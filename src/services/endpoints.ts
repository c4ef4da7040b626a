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
 * Traffic policy `Local` (KEP-2086): only endpoints on this node, without hints, with a fallback of its own to those that
 * terminate. None here but some elsewhere means that traffic is dropped, where no endpoint anywhere means that it is
 * refused.
 *
 * The VIP follows the internal policy; node ports, external and load-balancer IPs follow the external one.
 */

import type { IpFamily } from './address.ts'
import type { EndpointSlice, SliceEndpoint } from './endpointslice.ts'
import type { Outside } from './outside.ts'
import type { Endpoint, External } from './port.ts'
import type { Service, ServicePort, TrafficPolicy } from './service.ts'

/** Where the choice is made. Names and zones that are not known are undefined. */
export interface Here {
  readonly nodeName: string | undefined
  readonly zone: string | undefined
}

/** An endpoint of a port with what decides about it, and why it is not used if it is not. */
export interface Candidate extends Endpoint {
  readonly source: SliceEndpoint
  /** Why this node does not use it; undefined for the chosen ones. */
  readonly notUsed?: string
}

interface Choice {
  readonly endpoints: readonly Endpoint[]
  /** Traffic policy Local, and endpoints only on other nodes. */
  readonly onlyElsewhere: boolean
}

/** The choice for what comes by the VIP, and the one for what comes from outside. */
interface Choices extends Choice {
  /** See `PortState`. */
  readonly answering: readonly Endpoint[]
  readonly external: Omit<External, 'layer'> | undefined
}

const none: readonly Endpoint[] = []
const isLocal = (endpoint: Endpoint, here: Here) => here.nodeName !== undefined && endpoint.nodeName === here.nodeName
const isDraining = ({ source }: Candidate) => source.serving && source.terminating

/**
 * The endpoints of one family that `here` uses, in order of address and port.
 *
 * @param outside how the port is reached from outside; undefined where it is not
 */
export function chooseEndpoints(
  service: Service,
  port: ServicePort,
  family: IpFamily,
  slices: Iterable<EndpointSlice>,
  here: Here,
  outside?: Outside,
): Choices {
  const all = candidates(port, family, slices, here)
  const isUdp = port.protocol === 'UDP'
  const answering = isUdp ? all.filter(({ source }) => source.ready || source.serving).map(toEndpoint) : none
  if (!outside) return { ...choose(all, service.internalTrafficPolicy, here), answering, external: undefined }
  const by = { Cluster: choose(all, 'Cluster', here), Local: choose(all, 'Local', here) }
  const external = { ...outside, ...by[outside.policy], clusterEndpoints: by.Cluster.endpoints }
  return { ...by[service.internalTrafficPolicy], answering, external }
}

function choose(all: readonly Candidate[], policy: TrafficPolicy, here: Here): Choice {
  const chosen = pick(all, policy, here)
  const onlyElsewhere = chosen.length === 0 && policy === 'Local' && pickCluster(all, here).length > 0
  return { endpoints: chosen.map(toEndpoint), onlyElsewhere }
}

/** The choice for the VIP, for people: every endpoint, and why the others are not used. */
export function explainEndpoints(
  service: Service,
  port: ServicePort,
  family: IpFamily,
  slices: Iterable<EndpointSlice>,
  here: Here,
): readonly Candidate[] {
  const all = candidates(port, family, slices, here)
  const chosen = new Set(pick(all, service.internalTrafficPolicy, here))
  return all.map(candidate =>
    chosen.has(candidate) ? candidate : { ...candidate, notUsed: whyNot(candidate, service, here) },
  )
}

function pick(all: readonly Candidate[], policy: TrafficPolicy, here: Here): readonly Candidate[] {
  if (policy === 'Cluster') return pickCluster(all, here)
  return readyOrDraining(all.filter(candidate => isLocal(candidate, here)))
}

function pickCluster(all: readonly Candidate[], here: Here): readonly Candidate[] {
  const ready = all.filter(({ source }) => source.ready)
  return ready.length > 0 ? narrow(ready, here) : all.filter(isDraining)
}

function readyOrDraining(candidates: readonly Candidate[]): readonly Candidate[] {
  const ready = candidates.filter(({ source }) => source.ready)
  return ready.length > 0 ? ready : candidates.filter(isDraining)
}

/** Topology hints: all ready endpoints must have them, and one must be for us, or they are ignored. */
function narrow(ready: readonly Candidate[], here: Here): readonly Candidate[] {
  const hinted = (hints: (endpoint: SliceEndpoint) => readonly string[] | undefined, mine: string | undefined) => {
    if (mine === undefined || !ready.every(({ source }) => hints(source)?.length)) return []
    return ready.filter(({ source }) => hints(source)!.includes(mine))
  }
  const forNode = hinted(endpoint => endpoint.forNodes, here.nodeName)
  if (forNode.length > 0) return forNode
  const forZone = hinted(endpoint => endpoint.forZones, here.zone)
  return forZone.length > 0 ? forZone : ready
}

/**
 * Every endpoint of the port in all slices of the Service, by address and port. While a pod moves between slices it may
 * be in two.
 */
function candidates(
  port: ServicePort,
  family: IpFamily,
  slices: Iterable<EndpointSlice>,
  here: Here,
): readonly Candidate[] {
  const byAddress = new Map<string, Candidate>()
  for (const slice of slices) {
    if (slice.family !== family) continue
    for (const slicePort of slice.ports) {
      if (slicePort.name !== port.name || slicePort.protocol !== port.protocol) continue
      for (const source of slice.endpoints) {
        const key = `${source.ip} ${slicePort.port}`
        const known = byAddress.get(key)
        if (known && preference(known.source, here) >= preference(source, here)) continue
        byAddress.set(key, { ip: source.ip, port: slicePort.port, nodeName: source.nodeName, source })
      }
    }
  }
  return [...byAddress.values()].sort((a, b) => compareText(a.ip, b.ip) || a.port - b.port)
}

/**
 * Of two entries of one endpoint, one that terminates is a pod whose address another pod has by now. Of two that do or do
 * not, the more usable counts, and of two equal ones the one on this node.
 */
function preference({ ready, serving, terminating, nodeName }: SliceEndpoint, here: Here): number {
  const usability = ready ? 2 : Number(serving)
  return 8 * Number(!terminating) + 2 * usability + Number(nodeName !== undefined && nodeName === here.nodeName)
}

function compareText(a: string, b: string): number {
  if (a === b) return 0
  return a < b ? -1 : 1
}

function toEndpoint({ ip, port, nodeName }: Candidate): Endpoint {
  return { ip, port, nodeName }
}

function whyNot(candidate: Candidate, service: Service, here: Here): string {
  const { source } = candidate
  if (service.internalTrafficPolicy === 'Local' && !isLocal(candidate, here)) {
    return 'internalTrafficPolicy is Local and it is on another node'
  }
  if (source.ready) return `its topology hints are for ${hintText(source)}`
  if (isDraining(candidate)) return 'terminating, and others are ready'
  return source.terminating ? 'terminating and no longer serving' : 'not ready'
}

function hintText({ forNodes, forZones }: SliceEndpoint): string {
  const nodes = forNodes?.length ? [`node ${forNodes.join(', ')}`] : []
  const zones = forZones?.length ? [`zone ${forZones.join(', ')}`] : []
  return [...nodes, ...zones].join(' and ')
}
