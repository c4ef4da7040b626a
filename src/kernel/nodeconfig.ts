/** The facts of its node that a kernel layer needs, whichever backend writes it. */

import { familyOf, type IpFamily } from '../net/address.ts'
import { familyOfCidr, withoutNested } from '../net/cidr.ts'
import type { PolicyFacts } from '../plan/policies.ts'
import type { NodePlanOptions } from './options.ts'

/** As a v1 Node says it. */
export interface NodeFacts {
  /** Canonical; the first of a family is the primary one. */
  readonly addresses: readonly string[]
  /** Canonical; the first of a family counts. */
  readonly podCidrs: readonly string[]
}

export const noPolicies: PolicyFacts = { clients: [], endpoints: [], known: undefined }

/** The input of every backend beside Service ports. */
export interface NodeConfig {
  /** Undefined while it is not known. */
  readonly node: NodeFacts | undefined
  readonly policies: PolicyFacts
  /** The ranges of cluster IPs, canonical, of any family. */
  readonly serviceRanges: readonly string[]
}

export const unknownNode: NodeConfig = { node: undefined, policies: noPolicies, serviceRanges: [] }

export function ofFamily(addresses: readonly string[], family: IpFamily): readonly string[] {
  return addresses.filter(address => familyOf(address) === family)
}

const allOf = { IPv4: '0.0.0.0/0', IPv6: '::/0' } as const

/**
 * Returns the ranges of a family whose addresses open node ports. Where the options name none of the family, all its
 * addresses count: kube-proxy's rule, also for a node without a primary one.
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

/** Whether pods can be told from others in every family. */
export function tellsPods(
  node: NodeFacts | undefined,
  options: Pick<NodePlanOptions, 'families' | 'detectLocalMode' | 'clusterCidr'>,
): boolean {
  const byInterface = ['BridgeInterface', 'InterfaceNamePrefix'].includes(options.detectLocalMode)
  return byInterface || options.families.every(family => podRanges(family, node, options).length > 0)
}

/** Returns the ranges of the pods of this node, as far as `--detect-local-mode` tells pods by address. */
export function podRanges(
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
