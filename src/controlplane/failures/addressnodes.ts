/**
 * Finds the node of an address by Pods and Nodes: Kubernetes binds a Pod to its node, and kubelets write addresses. The
 * node that an EndpointSlice names is the word of whoever wrote the slice, who may be a tenant.
 */

import { AddressIndex } from '../../services/addressindex.ts'

/** A Pod, or a Node. */
interface Resident {
  readonly node: string
  /** `namespace/name`, undefined for a Node. */
  readonly pod: string | undefined
  readonly addresses: readonly string[]
}

export class AddressNodes {
  readonly #residents = new Map<string, Resident>()
  readonly #byAddress = new AddressIndex<Resident>()

  /** @param key of the object, unique among all */
  set(key: string, resident: Resident | undefined): void {
    const before = this.#residents.get(key)
    if (before) this.#byAddress.remove(before.addresses, before)
    if (resident && resident.addresses.length > 0) {
      this.#residents.set(key, resident)
      this.#byAddress.add(resident.addresses, resident)
    } else this.#residents.delete(key)
  }

  /** Undefined where nobody is known to have the address, or several on different nodes say so. */
  nodeOf(ip: string): string | undefined {
    return only(this.#byAddress.get(ip).map(({ node }) => node))
  }

  /** The pod that alone has the address, `namespace/name`. */
  podOf(ip: string): string | undefined {
    return only(this.#byAddress.get(ip).map(({ pod }) => pod))
  }
}

function only<T>(all: readonly T[]): T | undefined {
  return all.every(one => one === all[0]) ? all[0] : undefined
}
