/**
 * Finds pairs between which the client's address is tested: pods of this node, and endpoints that they may connect to.
 */

import { familyOf, type IpFamily } from '../../net/address.ts'
import { podsByRules, type RoutedPod } from '../system/routing/podrules.ts'

export interface Pair {
  readonly family: IpFamily
  readonly pod: RoutedPod
  readonly endpoint: string
}

export interface PairOptions {
  readonly families: readonly IpFamily[]
  /** Addresses that may be of pods of this node. */
  readonly pods: readonly string[]
  /** Addresses of endpoints elsewhere; the first of each family counts. */
  readonly elsewhere: readonly string[]
}

const podsLookedAt = 512
const mostPods = 16

/**
 * Finds for each set of routing rules a pod, with another pod of this node and with an endpoint elsewhere, as far as
 * there are any.
 */
export function findPairs({ families, pods, elsewhere }: PairOptions): readonly Pair[] {
  return families.flatMap(family => {
    const isOf = (address: string) => familyOf(address) === family
    const own = pods.filter(isOf).slice(0, podsLookedAt)
    const chosen = [...podsByRules(family, own).values()].slice(0, mostPods)
    const remote = elsewhere.find(isOf)
    return chosen.flatMap(pod => {
      const neighbour = own.find(address => address !== pod.address)
      const endpoints = [neighbour, remote].filter(endpoint => endpoint !== undefined)
      return endpoints.map(endpoint => ({ family, pod, endpoint }))
    })
  })
}
