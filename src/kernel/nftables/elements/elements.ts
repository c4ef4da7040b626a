/**
 * The elements of our nftables maps and sets: the part of the kernel layer that changes with Services. Everything else
 * (rules/ruleset.ts) is fixed. What a map cannot do has chains and sets of its own, which we treat as elements, too.
 */

import { type Family, type Transport, transports } from '../../family.ts'
import { addressLengths, type Bytes, protocolPart } from '../bytes.ts'

/**
 * - `services`: VIP . protocol . port → `goto endpoints-tcp-N` (or udp, sctp)
 * - `no-endpoints`: VIP . protocol . port → `goto refuse` or `drop`
 * - `external`: address . protocol . port → `jump mark-masquerade` or `goto local-policy`; see external.ts
 * - `local-services`: the same → the endpoints of external clients, where `services` has others
 * - `endpoints-tcp`, `-udp`, `-sctp`: VIP . port . slot → address . port of the endpoint in that slot, 0 to N-1
 * - `cluster-ips`: every VIP, where all of them are ours
 * - `service-ranges`: the ranges of cluster IPs, where all of them are ours
 * - `hairpin`: address . address of an endpoint that may be its own client
 * - `envoy`: VIP . port (TCP) that go to the listener of Envoy that Service ports share
 * - `envoy-own`: those that go to a listener of their own: both are the overlay
 * - `envoy-external`: address . port that do so for all clients: external addresses, of policy Cluster
 * - `envoy-local`: the same for external clients alone: external addresses, of policy Local, while endpoints are here
 * - `candidates`: address . port (TCP) that may go to Envoy, whether they do or not, where use decides which do
 * - `called`: those of them that had a new connection in the last `calledSeconds`; packets fill it
 * - `kernel-clients`: address of a pod whose connections skip the overlay
 * - `kernel-endpoints`: address of a pod that Envoy may not connect to
 * - `only-known-clients`: the unspecified address, where connections of pods skip the overlay, except `known-clients`
 * - `affinity`: VIP . protocol . port → the rules of a chain of its own, which chooses by the client's address
 * - `clients`: VIP . protocol . port . address . port of an endpoint . greatest number of clients: a set of its own, in
 *   which that chain remembers
 * - `source-checks`: load-balancer IP . protocol . port that does not admit everybody → `jump sources-…`; sources.ts
 * - `sources`: the same: a chain of its own, which drops who may not
 * - `ranges`: the same: a set of its own, of who may
 * - `source-ranges`: the same . range, an element of that set
 * - `node-port-addresses`: ranges; addresses of the node in them open node ports
 * - `pods`: ranges of the addresses of pods, where those tell pods from others
 * - `outside`: all ranges but those, where they tell pods from others; while it is empty no client is external
 */
export type SetName =
  | ('services' | 'no-endpoints' | EndpointsName | 'hairpin' | OverlaySet | OwnObject)
  | ('candidates' | 'external' | 'local-services' | 'source-checks' | 'source-ranges' | 'cluster-ips' | NodeSetName)
export type OverlaySet = (typeof overlaySets)[number]
export type NodeSetName = (typeof nodeSets)[number]
export type EndpointsName = `endpoints-${Transport}`
export type OwnObject = (typeof ownObjects)[number]

/** Keeps the whole node in the kernel layer while it holds the table's own protocol. Only people change it. */
export const overlaySwitch = 'overlay_off'

/**
 * Holds the table's own protocol for as long as somebody serves this node. The agent renews it; without one it times
 * out, and our rules step behind those of kube-proxy.
 */
export const heartbeatSet = 'heartbeat'

/** See `SetName`. */
export const candidatesSet = 'candidates'
export const calledSet = 'called'
/** A day: what runs once a day finds its port in Envoy. */
export const calledSeconds = 86_400
export const useSets: readonly string[] = [candidatesSet, calledSet]

/** The sets of what is redirected to Envoy. */
export const overlaySets = ['envoy', 'envoy-own', 'envoy-external', 'envoy-local'] as const
/** The kinds of chains and sets of single Service ports; affinity.ts. */
export const ownObjects = ['affinity', 'clients', 'sources', 'ranges'] as const

/** Sets about this node, and those of them that hold ranges. */
export const rangeSets = ['node-port-addresses', 'pods', 'outside'] as const
/** Whom network policies keep from Envoy. */
export const policySets = ['kernel-clients', 'kernel-endpoints', 'only-known-clients', 'known-clients'] as const
export const nodeSets = [...rangeSets, ...policySets, 'service-ranges'] as const
export const nodeOwner = 'node'

/** Elements by name, with their value, which is '' in sets: both as the kernel has them. In words: text.ts. */
export type Elements = ReadonlyMap<ElementName, Bytes>

/** Takes elements one by one, as a map does. */
export interface ElementSink {
  set(name: ElementName, value: Bytes): void
}

/** One character for family and set, and the key. */
export type ElementName = Bytes

export interface ElementParts {
  readonly family: Family
  readonly set: SetName
  readonly key: Bytes
}

const setNames: readonly SetName[] = [
  ...(['services', 'no-endpoints', 'external', 'local-services', 'source-checks', 'source-ranges'] as const),
  ...transports.map(transport => `endpoints-${transport}` as const),
  ...(['cluster-ips', 'hairpin', ...overlaySets, candidatesSet, ...ownObjects, ...nodeSets] as const),
]

const codes = (['ip', 'ip6'] as const).flatMap(family => setNames.map(set => ({ family, set })))
const sharedCodes = new Set(codes.flatMap(({ set }, code) => (set === 'hairpin' || set === 'cluster-ips' ? code : [])))
const codesOf = (family: Family) =>
  new Map<string, string>(
    codes.flatMap((of, code) => (of.family === family ? [[of.set, String.fromCharCode(code)]] : [])),
  )
const codesByName = { ip: codesOf('ip'), ip6: codesOf('ip6') } as const satisfies Record<Family, unknown>

export function elementName(family: Family, set: SetName, key: Bytes): ElementName {
  return setCode(family, set)! + key
}

/** The prefix of the names of a set's elements; undefined for sets whose elements are none of ours. */
export function setCode(family: Family, set: string): string | undefined {
  return codesByName[family].get(set)
}

/** Whether several ports may have the element: `hairpin` by endpoint, and `cluster-ips` by VIP. */
export function isShared(name: ElementName): boolean {
  return sharedCodes.has(name.charCodeAt(0))
}

export function setOf(name: ElementName): Omit<ElementParts, 'key'> {
  return codes[name.charCodeAt(0)]!
}

function keyOf(name: ElementName): Bytes {
  return name.slice(1)
}

export function partsOf(name: ElementName): ElementParts {
  return { ...setOf(name), key: keyOf(name) }
}

/**
 * The VIP, protocol and port that an element belongs to, as a key of `services`: no two Service ports share one.
 * An external address counts as a VIP, and `nodeOwner` owns what belongs to the node. Undefined for what ports share.
 */
export function ownerOf(name: ElementName): Bytes | undefined {
  if (isShared(name)) return undefined
  const { family, set } = setOf(name)
  if (nodeSets.some(each => each === set)) return nodeOwner
  const afterAddress = 1 + addressLengths[family]
  const transport = transportOfSet.get(set)
  if (transport === undefined) return name.slice(1, afterAddress + 8)
  return name.slice(1, afterAddress) + protocolPart(transport) + name.slice(afterAddress, afterAddress + 4)
}

/** Of sets whose keys do not say the protocol. */
const transportOfSet: ReadonlyMap<SetName, Transport> = new Map<SetName, Transport>([
  ...transports.map(transport => [`endpoints-${transport}`, transport] as const),
  ...([...overlaySets, candidatesSet] as const).map(set => [set, 'tcp'] as const),
])

export function isOverlaySet(set: SetName): boolean {
  return overlaySets.some(name => name === set)
}
