/** What a source has told of Services and of all that they depend on, and which Services a change concerns. */

import { labels } from './labels.ts'
import type { EndpointSlice } from './objects/endpointslice.ts'
import type { Change, KubeObject, ObjectKey } from './objects/objects.ts'
import type { Namespace, Node, Service } from './objects/service.ts'

/** Few slices, which a list holds in a third of the memory that a map takes. */
export interface ServiceFacts {
  /** `namespace/name` */
  readonly key: string
  /** Undefined while only its slices are there, which may arrive before it and leave after it. */
  readonly service: Service | undefined
  readonly slices: readonly EndpointSlice[]
}

type Entry = { -readonly [field in keyof ServiceFacts]: ServiceFacts[field] }

export class Facts {
  readonly #nodeName: string | undefined
  readonly #entries = new Map<string, Entry>()
  readonly #byNamespace = new Map<string, Set<Entry>>()
  readonly #namespaces = new Map<string, Namespace>()
  /** Which Service a slice belongs to, by namespace/slice: a slice may change hands. */
  readonly #sliceOwner = new Map<string, Entry>()
  /** By name of the ServiceCIDR. */
  readonly #serviceCidrs = new Map<string, readonly string[]>()
  #node: Node | undefined

  /** @param nodeName of the only Node that is kept; undefined where the choice is made for no node in particular */
  constructor(nodeName: string | undefined) {
    this.#nodeName = nodeName
  }

  /** @param dirty gets the keys of the Services that have to be looked at again */
  apply(change: Change, dirty: Set<string>): void {
    if (change.type === 'put') this.#put(change.object, dirty)
    else this.#remove(change.key, dirty)
  }

  get(key: string): ServiceFacts | undefined {
    return this.#entries.get(key)
  }

  keys(): Iterable<string> {
    return this.#entries.keys()
  }

  *services(): Iterable<Service> {
    for (const { service } of this.#entries.values()) if (service) yield service
  }

  inNamespace(namespace: string): Iterable<ServiceFacts> {
    return this.#byNamespace.get(namespace) ?? []
  }

  namespace(name: string): Namespace | undefined {
    return this.#namespaces.get(name)
  }

  get endpointSlices(): number {
    return this.#sliceOwner.size
  }

  /** What cluster IPs are given out of, canonical; empty where the source does not say. */
  get serviceRanges(): readonly string[] {
    return [...this.#serviceCidrs.values()].flat()
  }

  /** This node's own, where the source has told it. */
  get node(): Node | undefined {
    return this.#node
  }

  get zone(): string | undefined {
    return this.#node?.labels['topology.kubernetes.io/zone']
  }

  /** Whether nothing is left of the Service, which is forgotten then. */
  forgetIfGone(key: string): boolean {
    const entry = this.#entries.get(key)
    if (!entry || entry.service || entry.slices.length > 0) return entry === undefined
    const namespace = namespaceOf(key)
    const others = this.#byNamespace.get(namespace)
    this.#entries.delete(key)
    others?.delete(entry)
    if (others?.size === 0) this.#byNamespace.delete(namespace)
    return true
  }

  #put(object: KubeObject, dirty: Set<string>): void {
    switch (object.kind) {
      case 'Service': {
        const key = `${object.namespace}/${object.name}`
        this.#entry(key).service = object
        dirty.add(key)
        return
      }
      case 'EndpointSlice': {
        const owner = this.#entry(`${object.namespace}/${object.service}`)
        const slice = `${object.namespace}/${object.name}`
        const before = this.#sliceOwner.get(slice)
        if (before && before !== owner) this.#removeSlice(slice, before, object.name, dirty)
        this.#sliceOwner.set(slice, owner)
        // Thousands of new ones are not looked for among each other.
        owner.slices = before === owner ? withSlice(owner.slices, object) : owner.slices.concat(object)
        dirty.add(owner.key)
        return
      }
      case 'Namespace':
        this.#setNamespace(object.name, object, dirty)
        return
      case 'Node':
        if (object.name === this.#nodeName) this.#setNode(object, dirty)
        return
      case 'ServiceCIDR':
        this.#serviceCidrs.set(object.name, object.cidrs)
    }
  }

  #remove({ kind, namespace, name }: ObjectKey, dirty: Set<string>): void {
    const key = `${namespace}/${name}`
    switch (kind) {
      case 'Service': {
        const entry = this.#entries.get(key)
        if (!entry) return
        entry.service = undefined
        dirty.add(key)
        return
      }
      case 'EndpointSlice': {
        const owner = this.#sliceOwner.get(key)
        if (owner) this.#removeSlice(key, owner, name, dirty)
        return
      }
      case 'Namespace':
        this.#setNamespace(name, undefined, dirty)
        return
      case 'Node':
        if (name === this.#nodeName) this.#setNode(undefined, dirty)
        return
      case 'ServiceCIDR':
        this.#serviceCidrs.delete(name)
    }
  }

  #removeSlice(slice: string, owner: Entry, name: string, dirty: Set<string>): void {
    this.#sliceOwner.delete(slice)
    owner.slices = owner.slices.filter(other => other.name !== name)
    dirty.add(owner.key)
  }

  #setNode(node: Node | undefined, dirty: Set<string>): void {
    const { zone } = this
    this.#node = node
    if (this.zone !== zone) for (const key of this.#entries.keys()) dirty.add(key)
  }

  #setNamespace(name: string, namespace: Namespace | undefined, dirty: Set<string>): void {
    const optOut = this.#namespaces.get(name)?.labels[labels.namespaceOptOut]
    if (namespace) this.#namespaces.set(name, namespace)
    else this.#namespaces.delete(name)
    if (namespace?.labels[labels.namespaceOptOut] === optOut) return
    for (const { key } of this.inNamespace(name)) dirty.add(key)
  }

  #entry(key: string): Entry {
    let entry = this.#entries.get(key)
    if (!entry) {
      entry = { key, service: undefined, slices: [] }
      this.#entries.set(key, entry)
      const namespace = namespaceOf(key)
      const others = this.#byNamespace.get(namespace)
      if (others) others.add(entry)
      else this.#byNamespace.set(namespace, new Set([entry]))
    }
    return entry
  }
}

function namespaceOf(key: string): string {
  return key.slice(0, key.indexOf('/'))
}

/** In the place of the one of its name. */
function withSlice(slices: readonly EndpointSlice[], slice: EndpointSlice): readonly EndpointSlice[] {
  return slices.with(
    slices.findIndex(({ name }) => name === slice.name),
    slice,
  )
}
