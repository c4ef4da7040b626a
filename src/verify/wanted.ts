/**
 * Lists the frontends that Lightpath serves on a node: made from the same states of Service ports as its kernel rules.
 */

import { hostPort, type IpFamily, type Protocol } from '../net/address.ts'
import { contains } from '../net/cidr.ts'
import type { Endpoint, External, PortState } from '../plan/ports/port.ts'
import { portLabel } from '../services/objects/service.ts'
import { type Destination, type Frontend, type Frontends, keyOfDestination } from './frontends.ts'
import { mergeRanges } from './ranges.ts'

export interface ThisNode {
  readonly name: string
  /** Its InternalIPs. */
  readonly addresses: readonly string[]
  /** Families in which pods can be told from others: an external policy Local does not hold for pods. */
  readonly tellsPods: readonly IpFamily[]
}

/**
 * How a proxy keeps endpoints that may be their own client: kube-proxy by address and port of those that are said to be
 * on this node; Lightpath by address, also where no node is said.
 */
export type HairpinRule = 'kube-proxy' | 'lightpath'

export function expectedFrontends(
  states: readonly PortState[],
  families: readonly IpFamily[],
  node: ThisNode,
  rule: HairpinRule,
): Frontends {
  const served = states.filter(({ family }) => families.includes(family))
  const hairpin = hairpinOf(served, node.name, rule)
  const frontends = served.flatMap(state => [clusterFrontend(state), ...externalFrontends(state, node)])
  return new Map(frontends.map(frontend => [keyOfDestination(frontend.destination), withReached(frontend, hairpin)]))
}

/** Whether an endpoint of any Service is masqueraded to when it is its own client, by `address:port` and protocol. */
type Hairpin = (endpoint: string, protocol: Protocol) => boolean

function hairpinOf(states: readonly PortState[], nodeName: string, rule: HairpinRule): Hairpin {
  const isByAddress = rule === 'lightpath'
  const nameOf = (endpoint: string, protocol: Protocol) =>
    isByAddress ? endpoint.slice(0, endpoint.lastIndexOf(':')) : `${endpoint}/${protocol}`
  const names = states.flatMap(({ port, endpoints, external }) =>
    [...endpoints, ...(external?.endpoints ?? []), ...(external?.clusterEndpoints ?? [])]
      .filter(endpoint => endpoint.nodeName === nodeName || (isByAddress && endpoint.nodeName === undefined))
      .map(endpoint => nameOf(hostPort(endpoint.ip, endpoint.port), port.protocol)),
  )
  const known = new Set(names)
  return (endpoint, protocol) => known.has(nameOf(endpoint, protocol))
}

/** Completes a frontend by what depends on the endpoints that it leads to. */
function withReached(frontend: Frontend, hairpin: Hairpin): Frontend {
  const reached = [...new Set(Object.values(frontend.endpoints).flat())]
  if (reached.length === 0) return { ...frontend, affinitySeconds: undefined, masquerade: 'nobody' }
  return { ...frontend, hairpin: reached.filter(endpoint => hairpin(endpoint, frontend.destination.protocol)).sort() }
}

function clusterFrontend(state: PortState): Frontend {
  const endpoints = texts(state.endpoints)
  return {
    ...common(state),
    destination: destinationOf(state, state.vip, state.port.port),
    endpoints: { external: endpoints, pods: endpoints, node: endpoints },
    otherwise: refusal(state),
    masquerade: 'nobody',
    sources: undefined,
    isClusterIP: true,
  }
}

function externalFrontends(state: PortState, node: ThisNode): readonly Frontend[] {
  const { external, port } = state
  if (!external) return []
  const frontend = (address: string | undefined, number: number, sources: Frontend['sources']): Frontend => ({
    ...common(state),
    destination: destinationOf(state, address, number),
    endpoints: externalSlots(external, node.tellsPods.includes(state.family)),
    otherwise: refusal(external),
    // A connection from the node itself may carry an address of the Service as its source.
    masquerade: external.policy === 'Local' ? 'node' : 'everybody',
    sources,
    isClusterIP: false,
  })
  const sources = allowedSources(external, node)
  return [
    ...(external.nodePort === undefined ? [] : [frontend(undefined, external.nodePort, undefined)]),
    ...external.externalIPs.map(ip => frontend(ip, port.port, undefined)),
    ...external.loadBalancerIPs.map(ip => frontend(ip, port.port, sources)),
  ]
}

/** Clients inside of the cluster do not depend on the external policy. */
function externalSlots({ policy, endpoints, clusterEndpoints }: External, tellsPods: boolean): Frontend['endpoints'] {
  const external = texts(endpoints)
  const inside = policy === 'Local' ? texts(clusterEndpoints) : external
  return { external, pods: tellsPods ? inside : external, node: inside }
}

/**
 * Returns the admitted sources. A range that holds the node's own address admits the load balancer's, which the node
 * uses as source towards itself.
 */
function allowedSources({ sourceRanges, loadBalancerIPs }: External, { addresses }: ThisNode): Frontend['sources'] {
  if (sourceRanges.length === 0) return undefined
  const admitsNode = sourceRanges.some(range => addresses.some(address => contains(range, address)))
  return mergeRanges([...sourceRanges, ...(admitsNode ? loadBalancerIPs : [])])
}

function common(state: PortState): Pick<Frontend, 'service' | 'port' | 'affinitySeconds' | 'hairpin' | 'oddities'> {
  const { namespace, name, port, affinitySeconds } = state
  return {
    service: `${namespace}/${name}`,
    port: portLabel(port),
    affinitySeconds,
    hairpin: [],
    oddities: [],
  }
}

function destinationOf({ family, port }: PortState, address: string | undefined, number: number): Destination {
  return { family, address, protocol: port.protocol, port: number }
}

function refusal({ endpoints, noLocalEndpoints }: PortState | External): Frontend['otherwise'] {
  if (endpoints.length > 0) return undefined
  return noLocalEndpoints ? 'drop' : 'reject'
}

function texts(endpoints: readonly Endpoint[]): readonly string[] {
  return endpoints.map(({ ip, port }) => hostPort(ip, port)).sort()
}
