/** What the kernel is to know of this node itself, as elements. */

import { familyOf, type IpFamily } from '../../../net/address.ts'
import { complement, familyOfCidr, withoutNested } from '../../../net/cidr.ts'
import type { PolicyFacts } from '../../../services/policies.ts'
import { addressBytes, rangeBytes } from '../bytes.ts'
import type { DetectLocalMode } from '../rules/masquerade.ts'
import { type Elements, elementName, familyNames, type NodeSetName, rangeSets } from './elements.ts'
import { anyAddress } from './external.ts'

/** As a v1 Node says it. */
export interface NodeFacts {
  /** Canonical; the first of a family is the primary one. */
  readonly addresses: readonly string[]
  /** Canonical; the first of a family counts. */
  readonly podCidrs: readonly string[]
}

export interface NodePlanOptions {
  readonly families: readonly IpFamily[]
  /** Which addresses of the node open node ports: canonical CIDRs, and `primary` for the node's primary ones. */
  readonly nodeportAddresses: readonly string[]
  readonly detectLocalMode: DetectLocalMode
  /** Of all pods, canonical; the first of a family counts, in the mode ClusterCIDR. */
  readonly clusterCidr: readonly string[]
  /** As in `PlanOptions`. */
  readonly ownsClusterIPs: boolean
}

export const noPolicies: PolicyFacts = { clients: [], endpoints: [], known: undefined }

/** What the kernel is to know beside Service ports. */
export interface Surroundings {
  /** Undefined while it is not known. */
  readonly node: NodeFacts | undefined
  readonly policies: PolicyFacts
  /** What cluster IPs are given out of, canonical, of any family. */
  readonly serviceRanges: readonly string[]
}

export const unknownSurroundings: Surroundings = { node: undefined, policies: noPolicies, serviceRanges: [] }

export function planNode({ node, policies, serviceRanges }: Surroundings, options: NodePlanOptions): Elements {
  const elements = options.families.flatMap(family => {
    const all = (set: NodeSetName, keys: readonly string[]) =>
      keys.map(key => elementName(familyNames[family], set, isOfRanges(set) ? rangeBytes(key) : addressBytes(key)))
    const pods = podRanges(family, node, options)
    const ranges = options.ownsClusterIPs ? withoutNested(serviceRanges) : []
    return [
      ...all('node-port-addresses', nodePortRanges(family, node, options.nodeportAddresses)),
      ...all('pods', pods),
      ...all('outside', pods.flatMap(complement)),
      ...all(
        'service-ranges',
        ranges.filter(range => familyOfCidr(range) === family),
      ),
      ...all('kernel-clients', ofFamily(policies.clients, family)),
      ...all('kernel-endpoints', ofFamily(policies.endpoints, family)),
      ...all('only-known-clients', policies.known ? [anyAddress[familyNames[family]]] : []),
      ...all('known-clients', ofFamily(policies.known ?? [], family)),
    ]
  })
  return new Map(elements.map(name => [name, '']))
}

function isOfRanges(set: NodeSetName): boolean {
  return set === 'service-ranges' || rangeSets.some(name => name === set)
}

export function ofFamily(addresses: readonly string[], family: IpFamily): readonly string[] {
  return addresses.filter(address => familyOf(address) === family)
}

const allOf = { IPv4: '0.0.0.0/0', IPv6: '::/0' } as const

/**
 * The ranges of a family whose addresses open node ports. Where nothing is said of it, all its addresses count:
 * kube-proxy's rule, also for a node without a primary one.
 */
export function nodePortRanges(
  family: IpFamily,
  node: NodeFacts | undefined,
  nodeportAddresses: readonly string[],
): readonly string[] {
  const primary = primaryAddress(node, family)
  const ranges = nodeportAddresses.flatMap(range => {
    if (range !== 'primary') return familyOfCidr(range) === family ? [range] : []
    return primary === undefined ? [] : [`${primary}/${family === 'IPv4' ? 32 : 128}`]
  })
  return ranges.length === 0 ? [allOf[family]] : withoutNested(ranges)
}

/** Whether pods are told from others in every family. */
export function tellsPods(
  node: NodeFacts | undefined,
  options: Pick<NodePlanOptions, 'families' | 'detectLocalMode' | 'clusterCidr'>,
): boolean {
  const byInterface = ['BridgeInterface', 'InterfaceNamePrefix'].includes(options.detectLocalMode)
  return byInterface || options.families.every(family => podRanges(family, node, options).length > 0)
}

function podRanges(
  family: IpFamily,
  node: NodeFacts | undefined,
  { detectLocalMode, clusterCidr }: Pick<NodePlanOptions, 'detectLocalMode' | 'clusterCidr'>,
): readonly string[] {
  const known = {
    ClusterCIDR: clusterCidr,
    NodeCIDR: node?.podCidrs ?? [],
    BridgeInterface: [],
    InterfaceNamePrefix: [],
  }
  return known[detectLocalMode].filter(range => familyOfCidr(range) === family).slice(0, 1)
}

export function primaryAddress(node: NodeFacts | undefined, family: IpFamily): string | undefined {
  return node?.addresses.find(address => familyOf(address) === family)
}
