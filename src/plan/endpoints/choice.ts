/**
 * Chooses the endpoints of each port of a Service, by the rules of rules.ts. The rules do not depend on the number that
 * a port has on an endpoint: so the choice is made once for all ports that are in the same slices, and each port writes
 * its own number into it.
 */

import type { IpFamily, Protocol } from '../../net/address.ts'
import type { EndpointSlice, SlicePort } from '../../services/objects/endpointslice.ts'
import type { Service, ServicePort, TrafficPolicy } from '../../services/objects/service.ts'
import type { Barred } from '../../services/podindex.ts'
import type { ExternalAddresses } from '../ports/externaladdresses.ts'
import type { Endpoint, External, PortState } from '../ports/port.ts'
import { answers, type Bar, type Candidate, type NodeTopology, pick, pickFarther, preference, whyNot } from './rules.ts'

/** The choice for the VIP, and the one for external addresses. */
interface Choices {
  readonly endpoints: readonly Endpoint[]
  /** Traffic policy Local, and endpoints only on other nodes. */
  readonly noLocalEndpoints: boolean
  /** See `PortState`. */
  readonly servingEndpoints: readonly Endpoint[]
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
}

/** The index of the port's number on the endpoint, in ascending order: 0 where there is but one. */
interface NumberedCandidate extends Candidate {
  readonly number: number
  /** See `Endpoint`. */
  readonly barred: Barred | undefined
}

/** What ports in the same slices have in common; each list is made when it is asked for. */
interface Selection {
  readonly all: readonly NumberedCandidate[]
  readonly by: { [policy in TrafficPolicy]?: readonly NumberedCandidate[] }
}

interface LookedUp {
  /** In ascending order. */
  readonly numbers: readonly number[]
  readonly selection: Selection
  /** Left out of the selection; see `Choices`. */
  readonly reserved: readonly Endpoint[]
}

const none: readonly Endpoint[] = []

export class EndpointChoice {
  readonly #service: Service
  readonly #slices: readonly EndpointSlice[]
  readonly #topology: NodeTopology
  readonly #bar: Bar
  /** By family and by which slices have the port, and with which of its numbers. */
  readonly #selections = new Map<string, Selection>()
  /** By numbers: ports that lead to the same numbers share the list, and so do the VIP and external addresses. */
  readonly #lists = new Map<readonly NumberedCandidate[], Map<string | number, readonly Endpoint[]>>()

  /** @param bar default: Envoy may connect to all */
  constructor(service: Service, slices: readonly EndpointSlice[], topology: NodeTopology, bar: Bar = () => undefined) {
    this.#bar = bar
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
      servingEndpoints: isUdp ? endpointsOf(selection.all.filter(answers), numbers, known?.servingEndpoints) : none,
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

  #spillOver(
    { selection, numbers }: LookedUp,
    known: readonly Endpoint[] | undefined,
  ): readonly Endpoint[] | undefined {
    const farther = pickFarther(selection.all, this.#chosen('Cluster', selection)).filter(({ barred }) => !barred)
    return farther.length === 0 ? undefined : endpointsOf(farther, numbers, known)
  }

  /** Explains the choice for the VIP: every endpoint, and why the others are not used. */
  explain(port: ServicePort, family: IpFamily): readonly ExplainedEndpoint[] {
    const { numbers, selection, reserved } = this.#lookUp(port, family)
    const chosen = new Set(pick(selection.all, this.#service.internalTrafficPolicy, this.#topology))
    const explained = selection.all.map(candidate => {
      const { source, number } = candidate
      const endpoint = { ...toEndpoint(candidate, numbers[number]!), source }
      return chosen.has(candidate)
        ? endpoint
        : { ...endpoint, notUsed: whyNot(candidate, this.#service, this.#topology) }
    })
    const others = reserved.map(endpoint => ({
      ...endpoint,
      source: { ip: endpoint.ip, ready: true, serving: true, terminating: false, isPod: false },
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
      selection = { all: candidatesIn(this.#slices, ranks, this.#topology, this.#bar), by: {} }
      this.#selections.set(key, selection)
    }
    const reserved = this.#reservedAmong(selection.all, numbers)
    if (reserved.size === 0) return { numbers, selection, reserved: none }
    const others = { all: selection.all.filter(candidate => !reserved.has(candidate)), by: {} }
    return { numbers, selection: others, reserved: endpointsOf([...reserved], numbers, undefined) }
  }

  #chosen(policy: TrafficPolicy, { all, by }: Selection): readonly NumberedCandidate[] {
    by[policy] ??= pick(all, policy, this.#topology)
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
    if (!reserved || !numbers.some(number => reserved.ports.has(number))) return nobody
    return new Set(
      all.filter(({ source, number }) => reserved.ports.has(numbers[number]!) && reserved.hasAddress(source.ip)),
    )
  }
}

export const reservedReason = 'it is a port of Lightpath itself on this node'
const nobody: ReadonlySet<NumberedCandidate> = new Set()

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

/**
 * Lists every endpoint of the slices that has a rank, in order of address and number, once each: while a pod moves
 * between slices it may be in two.
 */
function candidatesIn(
  slices: readonly EndpointSlice[],
  ranks: readonly (number | undefined)[],
  topology: NodeTopology,
  bar: Bar,
): readonly NumberedCandidate[] {
  const known = new Map<string, NumberedCandidate>()
  // Of two entries that are as good the one in the slice of the first name counts, whichever came first.
  const byName = [...slices.keys()].sort((a, b) => compareText(slices[a]!.name, slices[b]!.name))
  for (const index of byName) {
    const number = ranks[index]
    if (number === undefined) continue
    for (const source of slices[index]!.endpoints) {
      const key = `${source.ip} ${number}`
      const other = known.get(key)
      if (other && preference(other.source, topology) >= preference(source, topology)) continue
      known.set(key, { source, number, barred: bar(source) })
    }
  }
  return [...known.values()].sort((a, b) => compareText(a.source.ip, b.source.ip) || a.number - b.number)
}

/** Keeps endpoints that are as they were the same objects, and the list where all are. */
function endpointsOf(
  chosen: readonly NumberedCandidate[],
  numbers: readonly number[],
  known: readonly Endpoint[] = none,
): readonly Endpoint[] {
  let [at, isSame] = [0, chosen.length === known.length]
  const endpoints = chosen.map(candidate => {
    const port = numbers[candidate.number]!
    while (at < known.length && compareEndpoints(known[at]!, candidate.source.ip, port) < 0) at++
    const before = known[at]
    if (before && isEndpoint(before, candidate, port)) return before
    isSame = false
    return toEndpoint(candidate, port)
  })
  return isSame ? known : endpoints
}

function toEndpoint({ source: { ip, nodeName }, barred }: NumberedCandidate, port: number): Endpoint {
  if (barred === undefined) return { ip, port, nodeName }
  const { why, isLeft } = barred
  return isLeft ? { ip, port, nodeName, barred: why, isLeft } : { ip, port, nodeName, barred: why }
}

function isEndpoint(known: Endpoint, { source, barred }: NumberedCandidate, port: number): boolean {
  return (
    known.ip === source.ip &&
    known.port === port &&
    known.nodeName === source.nodeName &&
    known.barred === barred?.why &&
    (known.isLeft ?? false) === (barred?.isLeft ?? false)
  )
}

function compareEndpoints(endpoint: Endpoint, ip: string, port: number): number {
  return compareText(endpoint.ip, ip) || endpoint.port - port
}

function compareText(a: string, b: string): number {
  if (a === b) return 0
  return a < b ? -1 : 1
}
