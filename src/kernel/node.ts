/** What the kernel is to know of this node itself, as elements. */

import { familyOf, type IpFamily } from '../services/address.ts'
import { familyOfCidr, withoutNested } from '../services/cidr.ts'
import { type Elements, elementName, familyNames, rangeText } from './elements.ts'

/** As a v1 Node says it. */
export interface NodeFacts {
  /** InternalIP addresses, canonical; the first of a family is the primary one. */
  readonly addresses: readonly string[]
}

export interface NodePlanOptions {
  readonly families: readonly IpFamily[]
  /** Which addresses of the node open node ports: canonical CIDRs, and `primary` for the node's primary ones. */
  readonly nodeportAddresses: readonly string[]
}

/**
 * @param node undefined while it is not known
 * @param kernelClients addresses of pods whose connections skip the overlay, canonical, of any family
 */
export function planNode(
  node: NodeFacts | undefined,
  kernelClients: readonly string[],
  { families, nodeportAddresses }: NodePlanOptions,
): Elements {
  const elements = families.flatMap(family => [
    ...nodePortRanges(family, node, nodeportAddresses).map(range =>
      elementName(familyNames[family], 'node-port-addresses', rangeText(range)),
    ),
    ...kernelClients
      .filter(address => familyOf(address) === family)
      .map(address => elementName(familyNames[family], 'kernel-clients', address)),
  ])
  return new Map(elements.map(name => [name, '']))
}

/**
 * The ranges of a family whose addresses open node ports. Where nothing is said of it, all its addresses count:
 * kube-proxy's rule, also for a node without a primary one.
 */
export function nodePortRanges(
  family: IpFamily,
  node: NodeFacts | undefined,
  nodeportAddresses: readonly string[],
): readonly string[] {
  const [bits, all] = family === 'IPv4' ? [32, '0.0.0.0/0'] : [128, '::/0']
  const primary = primaryAddress(node, family)
  const ranges = nodeportAddresses.flatMap(range => {
    if (range !== 'primary') return familyOfCidr(range) === family ? [range] : []
    return primary === undefined ? [] : [`${primary}/${bits}`]
  })
  return ranges.length === 0 ? [all] : withoutNested(ranges)
}

export function primaryAddress(node: NodeFacts | undefined, family: IpFamily): string | undefined {
  return node?.addresses.find(address => familyOf(address) === family)
}
