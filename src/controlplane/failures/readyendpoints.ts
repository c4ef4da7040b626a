/** Finds the endpoints that Kubernetes says are ready and that may be excluded, and whose they are. */

import { type FactType, nameOf, typeOf } from '../../facts/types.ts'
import { hostPort, ofHostPort } from '../../net/address.ts'
import { AddressIndex } from '../../services/addressindex.ts'
import { type EndpointSlice, ipsOf } from '../../services/objects/endpointslice.ts'
import { type Change, type KubeObject, keyOf } from '../../services/objects/objects.ts'
import { AddressNodes } from './addressnodes.ts'

export interface ReadyEndpoint {
  /** Where that is known for certain. */
  readonly node: string | undefined
  /** Its pod's namespace, or where that is not known that of a slice. */
  readonly namespace: string
}

export class ReadyEndpoints {
  /** By name of the resource. */
  readonly #slices = new Map<string, EndpointSlice>()
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
      endpoints.some(one => one.ip === ip && one.ready)
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

  #set(type: FactType, name: string, object: KubeObject | undefined): void {
    if (type === 'EndpointSlice' || type === 'Pod' || type === 'Node') this.#revision++
    if (type === 'EndpointSlice') this.#setSlice(name, object?.kind === type ? object : undefined)
    if (type === 'Pod') this.#nodes.setPod(name, object?.kind === type ? object : undefined)
    if (type === 'Node') this.#nodes.setNode(name, object?.kind === type ? object : undefined)
  }

  #setSlice(name: string, slice: EndpointSlice | undefined): void {
    const before = this.#slices.get(name)
    if (before) this.#byAddress.remove(ipsOf(before), before)
    if (slice) {
      this.#slices.set(name, slice)
      this.#byAddress.add(ipsOf(slice), slice)
    } else this.#slices.delete(name)
  }
}
