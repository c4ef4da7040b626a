/**
 * Finds the endpoints that Kubernetes says are ready and that may be excluded, and whose they are. One that is not ready
 * since Kubernetes has been told that it cannot be reached counts as ready: else what follows from an exclusion would end
 * it, and would leave fewer of which others could be taken.
 */

import { type FactType, nameOf, typeOf } from '../../facts/types.ts'
import { hostPort, ofHostPort } from '../../net/address.ts'
import { AddressIndex } from '../../services/addressindex.ts'
import { type EndpointSlice, ipsOf, type SliceEndpoint } from '../../services/objects/endpointslice.ts'
import type { Pod } from '../../services/objects/networkpolicy.ts'
import { type Change, type KubeObject, keyOf } from '../../services/objects/objects.ts'
import { compareText } from '../../text/compare.ts'
import { AddressNodes } from './addressnodes.ts'

export interface ReadyEndpoint {
  /** Where that is known for certain. */
  readonly node: string | undefined
  /** Its pod's namespace, or where that is not known that of a slice. */
  readonly namespace: string
}

/** The endpoints of a Service port in one family that are ready, or would be but for their readiness gate. */
export interface Members {
  readonly id: string
  readonly ips: readonly string[]
  /** Those of them that are not ready. */
  readonly notReady: ReadonlySet<string>
}

export class ReadyEndpoints {
  /** By name of the resource. */
  readonly #slices = new Map<string, EndpointSlice>()
  /** By namespace and name. */
  readonly #byService = new Map<string, Set<EndpointSlice>>()
  /** A pod is in the slices of several Services. */
  readonly #byAddress = new AddressIndex<EndpointSlice>()
  readonly #nodes = new AddressNodes()
  #revision = 0

  /** Grows whenever something may have changed. */
  get revision(): number {
    return this.#revision
  }

  apply(changes: readonly Change[]): void {
    for (const change of changes) {
      const key = change.type === 'put' ? keyOf(change.object) : change.key
      this.#set(typeOf(key.kind), nameOf(key), change.type === 'put' ? change.object : undefined)
    }
  }

  /** @param name of the resource */
  remove(type: FactType, name: string): void {
    this.#set(type, name, undefined)
  }

  /** @param endpoint as `hostPort` writes it (TCP); undefined where it is no ready endpoint, or is never to be excluded */
  find(endpoint: string): ReadyEndpoint | undefined {
    const { ip } = ofHostPort(endpoint)
    const isReadyIn = ({ ports, endpoints }: EndpointSlice) =>
      ports.some(({ protocol, port }) => protocol === 'TCP' && hostPort(ip, port) === endpoint) &&
      endpoints.some(one => one.ip === ip && this.#isReady(one))
    const slice = this.#byAddress.get(ip).find(isReadyIn)
    if (!slice || this.#nodes.staysIn(ip)) return undefined
    const { namespace } = this.#nodes.podOf(ip) ?? slice
    return { node: this.#nodes.nodeOf(ip), namespace }
  }

  /** The pod that has the endpoint's address, `namespace/name`, where that is known for certain. */
  podOf(endpoint: string): string | undefined {
    const pod = this.#nodes.podOf(ofHostPort(endpoint).ip)
    return pod && nameOf(keyOf(pod))
  }

  podAt(ip: string): Pod | undefined {
    return this.#nodes.podOf(ip)
  }

  nodeOf(ip: string): string | undefined {
    return this.#nodes.nodeOf(ip)
  }

  /** Pods whose condition says that they cannot be reached, and those on these nodes. */
  podsIn(nodes: ReadonlySet<string>): Iterable<Pod> {
    return this.#nodes.podsIn(nodes)
  }

  /**
   * Those of each Service port that has the address, of its Pod's namespace: whoever may write slices may name anybody's
   * Pods as the only endpoints of a Service.
   */
  membersWith(ip: string): readonly Members[] {
    const pod = this.#nodes.podOf(ip)
    const ports = this.#byAddress
      .get(ip)
      .filter(({ namespace }) => namespace === (pod?.namespace ?? namespace))
      .flatMap(({ namespace, service, family, ports }) =>
        ports.map(({ protocol, name }) => ({ service: `${namespace}/${service}`, family, protocol, name })),
      )
    const byId = new Map(ports.map(port => [Object.values(port).join(' '), port]))
    return [...byId].map(([id, { service, family, protocol, name }]) => {
      const isOfPort = (slice: EndpointSlice) =>
        slice.family === family && slice.ports.some(one => one.name === name && one.protocol === protocol)
      const endpoints = this.#endpointsOf(service, isOfPort)
      const ready = new Set(endpoints.flatMap(one => (one.traits.ready ? [one.ip] : [])))
      const ips = new Set([...ready, ...endpoints.flatMap(one => (this.#isGatedOnly(one) ? [one.ip] : []))])
      const notReady = new Set([...ips].filter(ip => !ready.has(ip)))
      return { id, ips: [...ips], notReady }
    })
  }

  /** The addresses of a Service's endpoints that are ready, in order. */
  readyIn(service: string): readonly string[] {
    const ready = this.#endpointsOf(service).flatMap(one => (one.traits.ready ? [one.ip] : []))
    return [...new Set(ready)].sort(compareText)
  }

  #endpointsOf(service: string, has: (slice: EndpointSlice) => boolean = () => true): readonly SliceEndpoint[] {
    return [...(this.#byService.get(service) ?? [])].filter(has).flatMap(({ endpoints }) => endpoints)
  }

  #isReady(endpoint: SliceEndpoint): boolean {
    return (
      endpoint.traits.ready || (this.#isGatedOnly(endpoint) && this.#nodes.podOf(endpoint.ip)?.isUnreachable === true)
    )
  }

  /** Nothing but its readiness gate, or the kubelet's word on that, keeps it from being ready. */
  #isGatedOnly({ ip, traits }: SliceEndpoint): boolean {
    return !traits.terminating && this.#nodes.podOf(ip)?.gated === 'containers ready'
  }

  #set(type: FactType, name: string, object: KubeObject | undefined): void {
    if (type === 'EndpointSlice' || type === 'Pod' || type === 'Node') this.#revision++
    if (type === 'EndpointSlice') this.#setSlice(name, object?.kind === type ? object : undefined)
    if (type === 'Pod') this.#nodes.setPod(name, object?.kind === type ? object : undefined)
    if (type === 'Node') this.#nodes.setNode(name, object?.kind === type ? object : undefined)
  }

  #setSlice(name: string, slice: EndpointSlice | undefined): void {
    const before = this.#slices.get(name)
    if (before) {
      this.#byAddress.remove(ipsOf(before), before)
      this.#ofService(before).delete(before)
    }
    if (slice) {
      this.#slices.set(name, slice)
      this.#byAddress.add(ipsOf(slice), slice)
      this.#ofService(slice).add(slice)
    } else this.#slices.delete(name)
    for (const one of [before, slice]) {
      if (one && this.#ofService(one).size === 0) this.#byService.delete(serviceOf(one))
    }
  }

  #ofService(slice: EndpointSlice): Set<EndpointSlice> {
    const service = serviceOf(slice)
    const known = this.#byService.get(service)
    if (known) return known
    const slices = new Set<EndpointSlice>()
    this.#byService.set(service, slices)
    return slices
  }
}

function serviceOf({ namespace, service }: EndpointSlice): string {
  return `${namespace}/${service}`
}
