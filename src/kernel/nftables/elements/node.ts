/** Plans the elements that describe this node itself. */

import { complement, familyOfCidr, withoutNested } from '../../../net/cidr.ts'
import { anyAddress, familyNames } from '../../family.ts'
import { type NodeConfig, nodePortRanges, ofFamily, podRanges } from '../../nodeconfig.ts'
import type { NodePlanOptions } from '../../options.ts'
import { addressBytes, rangeBytes } from '../bytes.ts'
import { type Elements, elementName, type NodeSetName, rangeSets } from './elements.ts'

export function planNode({ node, policies, serviceRanges }: NodeConfig, options: NodePlanOptions): Elements {
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
