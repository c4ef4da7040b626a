/** Holds every resource that clients are to have. It knows nothing of clients. */

import { type Resource, type ResourceRef, refKey, type TypeUrl } from '../envoy/resource.ts'

export interface StoreChanges {
  readonly put?: readonly Resource[]
  readonly remove?: readonly ResourceRef[]
}

export class ResourceStore {
  readonly #types = new Map<TypeUrl, Map<string, Resource>>()
  readonly #listeners = new Set<(changed: readonly ResourceRef[]) => void>()

  /**
   * Applies one atomic batch: listeners see all of it or nothing. Removals come first, so that a resource in both lists
   * stays. Putting a resource that is there in this version, and removing one that is not there, are no changes.
   */
  update({ put = [], remove = [] }: StoreChanges): void {
    const changed: ResourceRef[] = []
    const kept = new Set(remove.length > 0 ? put.map(refKey) : [])
    for (const ref of remove) {
      if (!kept.has(refKey(ref)) && this.#types.get(ref.typeUrl)?.delete(ref.name)) changed.push(ref)
    }
    for (const resource of put) if (this.#put(resource)) changed.push(resource)
    if (changed.length === 0) return
    for (const listener of this.#listeners) listener(changed)
  }

  get(typeUrl: TypeUrl, name: string): Resource | undefined {
    return this.#types.get(typeUrl)?.get(name)
  }

  names(typeUrl: TypeUrl): Iterable<string> {
    return this.#types.get(typeUrl)?.keys() ?? []
  }

  size(typeUrl: TypeUrl): number {
    return this.#types.get(typeUrl)?.size ?? 0
  }

  /** The types of which there is at least one resource. */
  types(): TypeUrl[] {
    return [...this.#types].filter(([, resources]) => resources.size > 0).map(([typeUrl]) => typeUrl)
  }

  /** Calls back within `update`, after it was applied. Returns how to stop. */
  onChange(listener: (changed: readonly ResourceRef[]) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  #put(resource: Resource): boolean {
    const { typeUrl, name, version, requires } = resource
    let resources = this.#types.get(typeUrl)
    if (!resources) {
      resources = new Map()
      this.#types.set(typeUrl, resources)
    }
    const before = resources.get(name)
    if (before?.version === version && isSame(before.requires, requires)) return false
    resources.set(name, resource)
    return true
  }
}

function isSame(some: readonly ResourceRef[], others: readonly ResourceRef[]): boolean {
  if (some.length !== others.length) return false
  return some.every(({ typeUrl, name }, index) => typeUrl === others[index]!.typeUrl && name === others[index]!.name)
}
