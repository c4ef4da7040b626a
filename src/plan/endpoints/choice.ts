/**
 * Chooses the endpoints of each port of a Service, by the rules of rules.ts. The rules do not depend on the number that
 * a port has on an endpoint: so the choice is made once for all ports that are in the same slices, and each port writes
 * its own number into it.
 */

import type { Exclusion } from '../../exclusions/exclusion.ts'
import { describeExclusion } from '../../exclusions/text.ts'
import type { IpFamily, Protocol } from '../../net/address.ts'
import type { EndpointSlice, SlicePort } from '../../services/objects/endpointslice.ts'
import type { Service, ServicePort, TrafficPolicy } from '../../services/objects/service.ts'
import type { ExternalAddresses } from '../ports/externaladdresses.ts'
import type { Endpoint, External, PortState } from '../ports/port.ts'
import { candidatesOf, type ListCandidates, type RememberedCandidates } from './candidates.ts'
import { endpointsOf, type NumberedCandidate, none, toEndpoint } from './endpointlist.ts'
import { type Excluded, exclusionFor, leftOutOf, nothingExcluded } from './excluded.ts'
import { answers, type Bar, isLocal, type NodeTopology, pick, pickFarther, whyNot } from './rules.ts'

/** The choice for the VIP, and the one for external addresses. */
interface Choices {
  readonly endpoints: readonly Endpoint[]
  /** Traffic policy Local, and endpoints only on other nodes. */
  readonly noLocalEndpoints: boolean
  /** See `PortState`. */
  readonly servingEndpoints: readonly Endpoint[]
  /** See `PortState`. */
  readonly leftOut: readonly Endpoint[] | undefined
  readonly external: Omit<External, 'layer'> | undefined
  /** See `PortState`. */
  readonly spillOver: readonly Endpoint[] | undefined
  /** Addresses that are no endpoints, since connections to them would end at the agent or its Envoy. */
  readonly reserved: readonly Endpoint[]
}

/** An endpoint for people. */
export interface ExplainedEndpoint extends Endpoint {
  readonly source: EndpointSlice['endpoints'][number]
  /** Why this node does not use it; undefined for the chosen ones. */
  readonly notUsed?: string
  /** Why it is excluded, also where it is used all the same. */
  readonly excluded?: string
}

/** What ports in the same slices have in common; each list is made when it is asked for. */
interface Selection {
  readonly all: readonly NumberedCandidate[]
  /** Those of them that get no new connections. */
  readonly leftOut: ReadonlyMap<NumberedCandidate, Exclusion>
  readonly by: { [policy in TrafficPolicy]?: readonly NumberedCandidate[] }
}

interface LookedUp {
  /** In ascending order. */
  readonly numbers: readonly number[]
  readonly selection: Selection
  /** Left out of the selection; see `Choices`. */
  readonly reserved: readonly Endpoint[]
}

export class EndpointChoice {
  readonly #service: Service
  readonly #slices: readonly EndpointSlice[]
  readonly #topology: NodeTopology
  readonly #candidates: ListCandidates
  readonly #excluded: Excluded
  /** By family and by which slices have the port, and with which of its numbers. */
  readonly #selections = new Map<string, Selection>()
  /** By numbers: ports that lead to the same numbers share the list, and so do the VIP and external addresses. */
  readonly #lists = new Map<readonly NumberedCandidate[], Map<string | number, readonly Endpoint[]>>()

  /**
   * @param bar default: Envoy may connect to all
   * @param remembered of the Service until now
   */
  constructor(
    service: Service,
    slices: readonly EndpointSlice[],
    topology: NodeTopology,
    bar?: Bar,
    excluded: Excluded = nothingExcluded,
    remembered?: RememberedCandidates,
  ) {
    const inputs = { slices, topology, bar }
    this.#candidates = remembered ? remembered.of(inputs) : candidatesOf(inputs)
    this.#excluded = excluded
    this.#service = service
    this.#slices = slices
    this.#topology = topology
  }

  /**
   * Returns the endpoints of one family that the node uses, in order of address and port.
   *
   * @param outside the port's external addresses; undefined where it has none
   * @param known the port until now: lists of it that are still right are kept
   * @param spills whether it has the setting spill-over
   */
  of(port: ServicePort, family: IpFamily, external?: ExternalAddresses, known?: PortState, spills = false): Choices {
    const lookedUp = this.#lookUp(port, family)
    const { numbers, selection, reserved } = lookedUp
    const { internalTrafficPolicy: internal } = this.#service
    const isUdp = port.protocol === 'UDP'
    return {
      endpoints: this.#endpointsBy(internal, lookedUp, known?.endpoints),
      noLocalEndpoints: this.#hasNoLocalEndpoints(internal, selection),
      servingEndpoints: isUdp ? endpointsOf(this.#serving(selection), numbers, known?.servingEndpoints) : none,
      leftOut: isUdp ? undefined : this.#leftOut(lookedUp, known?.leftOut),
      external: external && {
        ...external,
        endpoints: this.#endpointsBy(external.policy, lookedUp, known?.external?.endpoints),
        noLocalEndpoints: this.#hasNoLocalEndpoints(external.policy, selection),
        clusterEndpoints: this.#endpointsBy('Cluster', lookedUp, known?.external?.clusterEndpoints),
      },
      spillOver: spills && internal === 'Cluster' ? this.#spillOver(lookedUp, known?.spillOver) : undefined,
      reserved,
    }
  }

  /** Those on this node are served to the last: with policy Local there may be no others. */
  #serving({ all, leftOut }: Selection): readonly NumberedCandidate[] {
    return all.filter(one => answers(one) && (!leftOut.has(one) || isLocal(one.source, this.#topology)))
  }

  #leftOut({ selection, numbers }: LookedUp, known: readonly Endpoint[] | undefined): readonly Endpoint[] | undefined {
    const { all, leftOut } = selection
    if (leftOut.size === 0) return undefined
    return endpointsOf(
      all.filter(one => leftOut.has(one)),
      numbers,
      known,
    )
  }

  #spillOver(
    { selection, numbers }: LookedUp,
    known: readonly Endpoint[] | undefined,
  ): readonly Endpoint[] | undefined {
    const { all, leftOut } = selection
    const others = pickFarther(all, this.#chosen('Cluster', selection))
    const farther = others.filter(one => !one.barred && !leftOut.has(one))
    return farther.length === 0 ? undefined : endpointsOf(farther, numbers, known)
  }

  /** Explains the choice for the VIP: every endpoint, and why the others are not used. */
  explain(port: ServicePort, family: IpFamily): readonly ExplainedEndpoint[] {
    const { numbers, selection, reserved } = this.#lookUp(port, family)
    const chosen = new Set(this.#chosen(this.#service.internalTrafficPolicy, selection))
    const exclusionOf = exclusionFor(port.protocol, numbers, this.#topology, this.#excluded)
    const explained = selection.all.map(candidate => {
      const { source, number } = candidate
      const exclusion = exclusionOf(candidate)
      const excluded = exclusion && describeExclusion(exclusion)
      const endpoint = { ...toEndpoint(candidate, numbers[number]!), source, ...(excluded && { excluded }) }
      if (chosen.has(candidate)) return endpoint
      const isLeftOut = selection.leftOut.has(candidate)
      return { ...endpoint, notUsed: (isLeftOut && excluded) || whyNot(candidate, this.#service, this.#topology) }
    })
    const others = reserved.map(endpoint => ({
      ...endpoint,
      source: { ip: endpoint.ip, traits: { ready: true, serving: true, terminating: false, isPod: false } },
      notUsed: reservedReason,
    }))
    return [...explained, ...others]
  }

  #lookUp(port: ServicePort, family: IpFamily): LookedUp {
    const inSlices = this.#slices.map(slice => (slice.family === family ? numberIn(slice.ports, port) : undefined))
    const numbers = distinctNumbers(inSlices)
    let key: string = family
    for (const number of inSlices) key += number === undefined ? ',' : `,${numbers.indexOf(number)}`
    let selection = this.#selections.get(key)
    if (!selection) {
      const ranks = inSlices.map(number => (number === undefined ? undefined : numbers.indexOf(number)))
      selection = { all: this.#candidates(ranks), leftOut: nobody, by: {} }
      this.#selections.set(key, selection)
    }
    const reserved = this.#reservedAmong(selection.all, numbers)
    const all = reserved.size === 0 ? selection.all : selection.all.filter(candidate => !reserved.has(candidate))
    const leftOut = leftOutOf(all, port.protocol, numbers, this.#topology, this.#excluded)
    if (all === selection.all && leftOut.size === 0) return { numbers, selection, reserved: none }
    const own = { all, leftOut, by: {} }
    return { numbers, selection: own, reserved: endpointsOf([...reserved], numbers, undefined) }
  }

  #chosen(policy: TrafficPolicy, { all, leftOut, by }: Selection): readonly NumberedCandidate[] {
    const pickFrom = (some: readonly NumberedCandidate[]) => pick(some, policy, this.#topology)
    if (by[policy]) return by[policy]
    const chosen = leftOut.size === 0 ? [] : pickFrom(all.filter(candidate => !leftOut.has(candidate)))
    // With policy Local there may be no others.
    by[policy] = chosen.length > 0 ? chosen : pickFrom(all)
    return by[policy]
  }

  #hasNoLocalEndpoints(policy: TrafficPolicy, selection: Selection): boolean {
    return (
      policy === 'Local' &&
      this.#chosen('Local', selection).length === 0 &&
      this.#chosen('Cluster', selection).length > 0
    )
  }

  #endpointsBy(
    policy: TrafficPolicy,
    { selection, numbers }: LookedUp,
    known: readonly Endpoint[] | undefined,
  ): readonly Endpoint[] {
    return this.#listOf(this.#chosen(policy, selection), numbers, known)
  }

  #listOf(
    chosen: readonly NumberedCandidate[],
    numbers: readonly number[],
    known: readonly Endpoint[] | undefined,
  ): readonly Endpoint[] {
    let lists = this.#lists.get(chosen)
    if (!lists) {
      lists = new Map()
      this.#lists.set(chosen, lists)
    }
    const key = numbers.length === 1 ? numbers[0]! : numbers.join()
    let list = lists.get(key)
    if (!list) {
      list = endpointsOf(chosen, numbers, known)
      lists.set(key, list)
    }
    return list
  }

  #reservedAmong(all: readonly NumberedCandidate[], numbers: readonly number[]): ReadonlySet<NumberedCandidate> {
    const { reserved } = this.#topology
    if (!reserved || !numbers.some(number => reserved.ports.has(number))) return new Set()
    return new Set(
      all.filter(({ source, number }) => reserved.ports.has(numbers[number]!) && reserved.hasAddress(source.ip)),
    )
  }
}

export const reservedReason = 'it is a port of Lightpath itself on this node'
const nobody: Selection['leftOut'] = new Map()

type Numbers = ReadonlyMap<string, number>

/** By protocol and name, once for each list: slices of a Service mostly share it. */
const numbersIn = new WeakMap<readonly SlicePort[], ReadonlyMap<Protocol, Numbers>>()

function numberIn(ports: readonly SlicePort[], { name, protocol }: ServicePort): number | undefined {
  let numbers = numbersIn.get(ports)
  if (!numbers) {
    const byProtocol = Map.groupBy(ports, port => port.protocol)
    numbers = new Map(
      [...byProtocol].map(([protocol, of]) => [protocol, new Map(of.map(port => [port.name, port.port]))]),
    )
    numbersIn.set(ports, numbers)
  }
  return numbers.get(protocol)?.get(name)
}

/** Returns the numbers in ascending order. Mostly there is one: a pod listens on the same port in all slices. */
function distinctNumbers(inSlices: readonly (number | undefined)[]): readonly number[] {
  const numbers: number[] = []
  for (const number of inSlices) if (number !== undefined && !numbers.includes(number)) numbers.push(number)
  return numbers.sort((a, b) => a - b)
}
