/**
 * Indexes the Services of the cluster with their EndpointSlices and Namespaces, and finds which Services a change
 * concerns.
 */

import { AddressIndex } from './addressindex.ts'
import { labels } from './labels.ts'
import { type EndpointSlice, ipsOf } from './objects/endpointslice.ts'
import type { Change, KubeObject, ObjectKey } from './objects/objects.ts'
import type { Namespace, Service } from './objects/service.ts'

/** The slices are few, and a list holds them in a third of the memory that a map takes. */
export interface ServiceFacts {
  /** `namespace/name` */
  readonly key: string
  /** Undefined while only its slices are there, which may arrive before it and leave after it. */
  readonly service: Service | undefined
  readonly slices: readonly EndpointSlice[]
}

type Entry = { -readonly [field in keyof ServiceFacts]: ServiceFacts[field] }

export class ServiceIndex {
  readonly #entries = new Map<string, Entry>()
  readonly #byNamespace = new Map<string, Set<Entry>>()
  readonly #namespaces = new Map<string, Namespace>()
  /** Which Service a slice belongs to, by namespace/slice: a slice may change hands. */
  readonly #sliceOwner = new Map<string, Entry>()
  /** By name of the ServiceCIDR. */
  readonly #serviceCidrs = new Map<string, readonly string[]>()
  /** Made when an address is first asked for: most agents never are, and it takes memory. */
  #byAddress: AddressIndex<Entry> | undefined

  /** @param dirty gets the keys of the Services that have to be derived again */
  apply(change: Change, dirty: Set<string>): void {
    if (change.type === 'put') this.#put(change.object, dirty)
    else this.#remove(change.key, dirty)
  }

  get(key: string): ServiceFacts | undefined {
    return this.#entries.get(key)
  }

  /** Services, and what has slices only. */
  entries(): Iterable<ServiceFacts> {
    return this.#entries.values()
  }

  service(namespace: string, name: string): Service | undefined {
    return this.#entries.get(`${namespace}/${name}`)?.service
  }

  *all(): Iterable<Service> {
    for (const { service } of this.#entries.values()) if (service) yield service
  }

  /** `namespace/name` of each Service. */
  names(): readonly string[] {
    return [...this.all()].map(({ namespace, name }) => `${namespace}/${name}`)
  }

  inNamespace(namespace: string): Iterable<ServiceFacts> {
    return this.#byNamespace.get(namespace) ?? []
  }

  /** Finds those with an endpoint at this address. */
  withAddress(ip: string): ReadonlySet<ServiceFacts> {
    if (!this.#byAddress) {
      this.#byAddress = new AddressIndex()
      for (const entry of this.#entries.values())
        for (const slice of entry.slices) this.#byAddress.add(ipsOf(slice), entry)
    }
    return new Set(this.#byAddress.get(ip))
  }

  namespace(name: string): Namespace | undefined {
    return this.#namespaces.get(name)
  }

  counts(): { readonly services: number; readonly endpointSlices: number } {
    return { services: [...this.all()].length, endpointSlices: this.#sliceOwner.size }
  }

  /** The ranges of cluster IPs, canonical; empty where the source has none. */
  get serviceRanges(): readonly string[] {
    return [...this.#serviceCidrs.values()].flat()
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
        if (before === owner) this.#byAddress?.remove(ipsOf(sliceIn(owner.slices, object.name)), owner)
        this.#byAddress?.add(ipsOf(object), owner)
        // New ones, which may be thousands, are not looked for among each other.
        owner.slices = before === owner ? withSlice(owner.slices, object) : owner.slices.concat(object)
        dirty.add(owner.key)
        return
      }
      case 'Namespace':
        this.#setNamespace(object.name, object, dirty)
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
        this.#forgetIfGone(entry)
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
      case 'ServiceCIDR':
        this.#serviceCidrs.delete(name)
    }
  }

  #removeSlice(slice: string, owner: Entry, name: string, dirty: Set<string>): void {
    this.#sliceOwner.delete(slice)
    this.#byAddress?.remove(ipsOf(sliceIn(owner.slices, name)), owner)
    owner.slices = owner.slices.filter(other => other.name !== name)
    dirty.add(owner.key)
    this.#forgetIfGone(owner)
  }

  #forgetIfGone(entry: Entry): void {
    const { key, service, slices } = entry
    if (service || slices.length > 0) return
    const namespace = namespaceOf(key)
    const others = this.#byNamespace.get(namespace)
    this.#entries.delete(key)
    others?.delete(entry)
    if (others?.size === 0) this.#byNamespace.delete(namespace)
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

function sliceIn(slices: readonly EndpointSlice[], name: string): EndpointSlice {
  return slices.find(slice => slice.name === name)!
}

/** Replaces the slice of the same name. */
function withSlice(slices: readonly EndpointSlice[], slice: EndpointSlice): readonly EndpointSlice[] {
  return slices.with(
    slices.findIndex(({ name }) => name === slice.name),
    slice,
  )
}
