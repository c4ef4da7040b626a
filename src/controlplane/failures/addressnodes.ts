/**
 * Finds the node of an address by Pods and Nodes: Kubernetes binds a Pod to its node, and kubelets write addresses. The
 * node that an EndpointSlice names is the word of whoever wrote the slice, who may be a tenant.
 */

import { AddressIndex } from '../../services/addressindex.ts'
import { labels } from '../../services/labels.ts'
import type { Pod } from '../../services/objects/networkpolicy.ts'
import type { Node } from '../../services/objects/service.ts'

type Resident = Pod | Node

export class AddressNodes {
  readonly #pods = new Map<string, Pod>()
  readonly #unreachable = new Map<string, Pod>()
  readonly #nodes = new Map<string, Node>()
  readonly #byAddress = new AddressIndex<Resident>()

  /** @param name `namespace/name` */
  setPod(name: string, pod: Pod | undefined): void {
    this.#set(this.#pods, name, pod)
    if (pod?.isUnreachable) this.#unreachable.set(name, pod)
    else this.#unreachable.delete(name)
  }

  setNode(name: string, node: Node | undefined): void {
    this.#set(this.#nodes, name, node)
  }

  /** Undefined where nobody is known to have the address, or several on different nodes say so. */
  nodeOf(ip: string): string | undefined {
    return only(this.#byAddress.get(ip).map(nodeNameOf))
  }

  /** Pods whose condition says that they cannot be reached, and those on these nodes. */
  *podsIn(nodes: ReadonlySet<string>): Iterable<Pod> {
    if (nodes.size === 0) yield* this.#unreachable.values()
    else for (const pod of this.#pods.values()) if (pod.isUnreachable || nodes.has(pod.nodeName)) yield pod
  }

  /** The pod that alone has the address. */
  podOf(ip: string): Pod | undefined {
    const [resident, ...others] = this.#byAddress.get(ip)
    return resident?.kind === 'Pod' && others.length === 0 ? resident : undefined
  }

  /** Whether whoever has the address, or its node, is labelled so that it is never excluded. */
  staysIn(ip: string): boolean {
    return this.#byAddress.get(ip).some(resident => {
      const node = this.#nodes.get(nodeNameOf(resident))
      return [resident, node].some(one => one?.labels[labels.exclusion] === 'disabled')
    })
  }

  #set<T extends Resident>(all: Map<string, T>, name: string, resident: T | undefined): void {
    const before = all.get(name)
    if (before) this.#byAddress.remove(before.addresses, before)
    if (resident) {
      all.set(name, resident)
      this.#byAddress.add(resident.addresses, resident)
    } else all.delete(name)
  }
}

function nodeNameOf(resident: Resident): string {
  return resident.kind === 'Pod' ? resident.nodeName : resident.name
}

function only(all: readonly string[]): string | undefined {
  return all.every(one => one === all[0]) ? all[0] : undefined
}
