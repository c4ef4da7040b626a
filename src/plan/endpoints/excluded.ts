/** Which endpoints of a Service port a node leaves out, since others have found them dead (exclusions/). */

import { type Exclusion, Exclusions } from '../../exclusions/exclusion.ts'
import { leftOut } from '../../exclusions/share.ts'
import { ofHostPort, type Protocol } from '../../net/address.ts'
import type { EndpointSlice, EndpointTraits, SliceEndpoint } from '../../services/objects/endpointslice.ts'
import type { ServiceIndex } from '../../services/serviceindex.ts'
import type { NumberedCandidate } from './endpointlist.ts'
import { isLocal, type NodeTopology } from './rules.ts'

export interface Excluded {
  readonly exclusions: Exclusions
  /** The largest part of a Service port's ready endpoints that is left out, from 0 to 1. */
  readonly share: number
}

export const nothingExcluded: Excluded = { exclusions: new Exclusions(), share: 0 }

const nobody: ReadonlyMap<NumberedCandidate, Exclusion> = new Map()

export function leftOutOf(
  all: readonly NumberedCandidate[],
  protocol: Protocol,
  numbers: readonly number[],
  topology: NodeTopology,
  excluded: Excluded,
): ReadonlyMap<NumberedCandidate, Exclusion> {
  if (excluded.exclusions.isEmpty) return nobody
  const exclusionOf = exclusionFor(protocol, numbers, topology, excluded)
  const ready = all.filter(({ source }) => source.traits.ready)
  const gatedOut = all.filter(one => mayBeGatedOut(one.source.traits) && exclusionOf(one)).length
  return leftOut(ready, exclusionOf, excluded.share, gatedOut)
}

/**
 * Whether an endpoint that is excluded may be not ready for that alone: its Pod has the readiness gate
 * (controlplane/reachability/). One of a node that is excluded may have other reasons; to count it errs on the safe side.
 */
function mayBeGatedOut({ ready, terminating }: EndpointTraits): boolean {
  return !ready && !terminating
}

/** Returns slices as they would be were nothing excluded, and so none gated out. */
export function slicesUnlessExcluded(
  slices: readonly EndpointSlice[],
  exclusions: Exclusions,
): readonly EndpointSlice[] {
  const isGatedOut = ({ ip, traits }: SliceEndpoint, { ports }: EndpointSlice) =>
    mayBeGatedOut(traits) && ports.some(({ port, protocol }) => exclusions.of(ip, port, protocol, traits.nodeName))
  if (!slices.some(slice => slice.endpoints.some(one => isGatedOut(one, slice)))) return slices
  return slices.map(slice => ({
    ...slice,
    endpoints: slice.endpoints.map(one =>
      isGatedOut(one, slice) ? { ...one, traits: { ...one.traits, ready: true, serving: true } } : one,
    ),
  }))
}

/** A node that others cannot reach still reaches what is on itself. */
export function exclusionFor(
  protocol: Protocol,
  numbers: readonly number[],
  topology: NodeTopology,
  { exclusions }: Excluded,
): (candidate: NumberedCandidate) => Exclusion | undefined {
  return ({ source, number }) => {
    const node = isLocal(source, topology) ? undefined : source.traits.nodeName
    return exclusions.of(source.ip, numbers[number]!, protocol, node)
  }
}

/**
 * Finds the Services with an endpoint that is excluded by one of the two only, or since another time. Looks at those
 * with such an address, and at all only where another node is excluded.
 */
export function concernedBy(services: ServiceIndex, a: Exclusions, b: Exclusions): ReadonlySet<string> {
  const { endpoints, nodes } = a.differencesTo(b)
  const named = endpoints.flatMap(endpoint => [...services.withAddress(ofHostPort(endpoint).ip)])
  const there = nodes.length > 0 ? services.entries() : named
  const concerned = [...there].filter(({ slices }) => slices.some(slice => isConcerned(slice, a, b)))
  return new Set(concerned.map(({ key }) => key))
}

function isConcerned({ endpoints, ports }: EndpointSlice, a: Exclusions, b: Exclusions): boolean {
  return endpoints.some(({ ip, traits }) =>
    ports.some(({ port, protocol }) => {
      const [inA, inB] = [a, b].map(one => one.of(ip, port, protocol, traits.nodeName))
      return inA?.since !== inB?.since
    }),
  )
}
