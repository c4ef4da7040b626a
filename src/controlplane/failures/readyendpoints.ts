/** Finds the node of an endpoint that Kubernetes says is ready. */

import { hostPort, ofHostPort } from '../../net/address.ts'
import type { EndpointSlice } from '../../services/objects/endpointslice.ts'
import { type Change, keyOf } from '../../services/objects/objects.ts'

export class ReadyEndpoints {
  readonly #slices = new Map<string, EndpointSlice>()
  /** By address. A pod is in the slices of several Services. */
  readonly #byAddress = new Map<string, Set<EndpointSlice>>()

  apply(changes: readonly Change[]): void {
    for (const change of changes) {
      const { kind, namespace, name } = change.type === 'put' ? keyOf(change.object) : change.key
      if (kind !== 'EndpointSlice') continue
      const key = `${namespace}/${name}`
      this.remove(key)
      if (change.type === 'put' && change.object.kind === 'EndpointSlice') this.#add(key, change.object)
    }
  }

  /** @param key namespace/name of a slice */
  remove(key: string): void {
    const slice = this.#slices.get(key)
    for (const { ip } of slice?.endpoints ?? []) this.#forget(ip, slice!)
    this.#slices.delete(key)
  }

  /** Returns those of these endpoints (`hostPort`, TCP) that are ready, each with its node where that is known. */
  nodesOf(endpoints: Iterable<string>): ReadonlyMap<string, string | undefined> {
    const found = new Map<string, string | undefined>()
    for (const endpoint of endpoints) {
      const { ip } = ofHostPort(endpoint)
      for (const slice of this.#byAddress.get(ip) ?? []) {
        const isPort = slice.ports.some(({ port, protocol }) => protocol === 'TCP' && hostPort(ip, port) === endpoint)
        const ready = isPort ? slice.endpoints.find(one => one.ip === ip && one.ready) : undefined
        if (ready) found.set(endpoint, ready.nodeName ?? found.get(endpoint))
      }
    }
    return found
  }

  #add(key: string, slice: EndpointSlice): void {
    this.#slices.set(key, slice)
    for (const { ip } of slice.endpoints) {
      const there = this.#byAddress.get(ip)
      if (there) there.add(slice)
      else this.#byAddress.set(ip, new Set([slice]))
    }
  }

  #forget(ip: string, slice: EndpointSlice): void {
    const there = this.#byAddress.get(ip)
    there?.delete(slice)
    if (there?.size === 0) this.#byAddress.delete(ip)
  }
}
