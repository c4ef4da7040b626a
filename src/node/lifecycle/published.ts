/**
 * Keeps what is published of each frontend, wanted or draining, and which frontend a resource belongs to: resources are
 * named by addresses, which may go from one Service to another.
 */

import { RefMap, type Resource, type ResourceRef, refKey, type TypeUrl, typeUrls } from '../../envoy/resource.ts'
import { type Frontend, resourceNameOf } from '../../envoy/resources/frontend.ts'
import { type NodeOptions, sharedRefs, sharedResources } from '../../envoy/resources/listener.ts'
import { areReachedAlike, type Published, resourcesOf } from '../../envoy/resources/resources.ts'
import { goneResources, routeResource } from '../../envoy/resources/route.ts'

/** Changes to the store, collected over several frontends. */
export interface Changes {
  readonly put: Resource[]
  readonly remove: ResourceRef[]
}

export interface PublishedFrontend extends Published {
  /** What another frontend has taken over from this one. */
  readonly lost: readonly ResourceRef[]
}

interface PublishOptions {
  /** Whether new connections are to go there. A draining frontend gets back nothing that another has taken over. */
  readonly isWanted: boolean
  /** Its connections end, each after its next answer. */
  readonly isClosing: boolean
}

const nothing: readonly ResourceRef[] = []

export class PublishedFrontends {
  #options: NodeOptions
  readonly #published = new Map<string, PublishedFrontend>()
  /** The frontend that a resource belongs to. */
  readonly #owner = new RefMap<string>()
  /** Resources at an address that its frontend no longer has, by type and name: open connections still use them. */
  readonly #former = new Set<string>()
  /** The listeners that frontends share, and their filter, by type and name. They stay. */
  readonly #shared = new Map<string, Resource>()

  constructor(options: NodeOptions) {
    this.#options = options
  }

  has(id: string): boolean {
    return this.#published.has(id)
  }

  get(id: string): PublishedFrontend | undefined {
    return this.#published.get(id)
  }

  /** The frontends and their ids. */
  entries(): Iterable<[string, PublishedFrontend]> {
    return this.#published.entries()
  }

  get options(): NodeOptions {
    return this.#options
  }

  /** Whether the frontend was published with other listeners, scopes or routes than it is to have now. */
  hasMoved(frontend: Frontend): boolean {
    const published = this.#published.get(frontend.id)
    return published !== undefined && !areReachedAlike(published.frontend, frontend)
  }

  /**
   * Publishes a frontend. It takes over what has its address from a draining frontend that had the address.
   * @returns the addresses that the frontend no longer has: connections there end, each after its next answer, until
   *   `forgetFormerRoutes` and then `forgetFormerCluster`
   */
  publish(frontend: Frontend, { isWanted, isClosing }: PublishOptions, changes: Changes): readonly string[] {
    const before = this.#published.get(frontend.id)
    const options = { ...this.#options, isDraining: isClosing }
    const all = resourcesOf(frontend, options, isWhole(before) ? before : undefined)
    const lost = isWanted ? nothing : (before?.lost ?? nothing)
    const resources = lost.length === 0 ? all : without(all, lost)
    changes.put.push(...this.#addShared(frontend))
    for (const resource of resources) {
      this.#take(resource, frontend.id)
      if (!before?.resources.includes(resource)) changes.put.push(resource)
    }
    const left = without(before?.resources ?? [], resources)
    this.#published.set(frontend.id, { frontend, isDraining: isClosing, node: this.#options, resources, lost })
    changes.remove.push(...this.#release(frontend.id, left.filter(isOfListener)))
    const found = left.filter(resource => !isOfListener(resource))
    return before ? this.#leave(before.frontend, frontend, found, changes) : []
  }

  /** Ends connections to an address that no frontend has, each after its next answer, until `forgetFormerRoutes`. */
  addFormer(address: string, { put }: Changes): void {
    for (const resource of goneResources(address)) {
      this.#former.add(refKey(resource))
      put.push(resource)
    }
  }

  /** Forgets the routes of an address to which no request comes any more. */
  forgetFormerRoutes(address: string, changes: Changes): void {
    this.#forgetFormer([typeUrls.scope, typeUrls.route], address, changes)
  }

  /** Forgets the cluster: requests that had come are answered, and TCP connections have had the drain time. */
  forgetFormerCluster(address: string, changes: Changes): void {
    this.#forgetFormer([typeUrls.endpoints, typeUrls.cluster], address, changes)
  }

  #forgetFormer(types: readonly TypeUrl[], name: string, { remove }: Changes): void {
    const refs = types.map(typeUrl => ({ typeUrl, name }))
    remove.push(...refs.filter(ref => this.#former.delete(refKey(ref))))
  }

  forget(id: string, changes: Changes): void {
    const published = this.#published.get(id)
    this.#published.delete(id)
    changes.remove.push(...this.#release(id, published?.resources ?? []))
  }

  /** Publishes anew what follows from the node, of frontends that `isOf` selects and that have lost nothing. */
  setNode(node: NodeOptions, isOf: (id: string) => boolean, { put }: Changes): void {
    this.#options = { ...this.#options, ...node }
    const frontends = [...this.#published].filter(([id, published]) => isWhole(published) && isOf(id))
    for (const [id, published] of frontends) {
      const { frontend, isDraining } = published
      const resources = resourcesOf(frontend, { ...this.#options, isDraining }, published)
      this.#published.set(id, { ...published, node: this.#options, resources })
      put.push(...resources.filter(resource => !published.resources.includes(resource)))
    }
    const before = new Map(this.#shared)
    this.#shared.clear()
    const shared = [...this.#published.values()].flatMap(({ frontend }) => this.#addShared(frontend))
    put.push(...shared.filter(resource => before.get(refKey(resource))?.version !== resource.version))
  }

  /** What the frontend shares with others. */
  sharedOf(frontend: Frontend): readonly Resource[] {
    const shared = sharedRefs(frontend).map(ref => this.sharedAt(ref))
    return shared.filter(resource => resource !== undefined)
  }

  /** The resource that frontends share, where this is one. */
  sharedAt(ref: ResourceRef): Resource | undefined {
    return this.#shared.get(refKey(ref))
  }

  /** The names of the frontend's own listeners; undefined where another frontend has taken one over. */
  listenersOf(id: string): readonly string[] | undefined {
    const published = this.#published.get(id)
    if (!published || published.lost.some(isListener)) return undefined
    return published.resources.filter(isListener).map(({ name }) => name)
  }

  ownerOf(ref: ResourceRef): string | undefined {
    return this.#owner.get(ref)
  }

  /** Returns those of the frontend's shared resources that are new. */
  #addShared(frontend: Frontend): readonly Resource[] {
    if (sharedRefs(frontend).every(ref => this.sharedAt(ref))) return []
    const added = sharedResources(frontend, this.#options).filter(resource => !this.sharedAt(resource))
    for (const resource of added) this.#shared.set(refKey(resource), resource)
    return added
  }

  /** The former owner still has open connections there, so all else of it stays in Envoy while it drains. */
  #take(ref: ResourceRef, id: string): void {
    const key = refKey(ref)
    const owner = this.#owner.get(ref) ?? id
    this.#owner.set(ref, id)
    this.#former.delete(key)
    const published = owner === id ? undefined : this.#published.get(owner)
    if (!published) return
    const resources = without(published.resources, [ref])
    this.#published.set(owner, { ...published, resources, lost: [...published.lost, ref] })
  }

  /** Returns what to remove from Envoy of a frontend: all but what another frontend has taken over. */
  #release(id: string, resources: readonly Resource[]): readonly ResourceRef[] {
    const released = resources.filter(resource => this.#owner.get(resource) === id)
    for (const resource of released) this.#owner.delete(resource)
    return released
  }

  /** Requests that still come there go to the endpoints that the frontend has now. */
  #leave(before: Frontend, now: Frontend, left: readonly Resource[], { put }: Changes): readonly string[] {
    const released = this.#release(before.id, left)
    for (const ref of released) this.#former.add(refKey(ref))
    const route = routeResource(before, this.#options, true, resourceNameOf(now))
    if (route && this.#former.has(refKey(route))) put.push(route)
    return [...new Set(released.map(({ name }) => name))]
  }
}

function isWhole(published: PublishedFrontend | undefined): boolean {
  return published !== undefined && published.lost.length === 0
}

function without(resources: readonly Resource[], refs: readonly ResourceRef[]): readonly Resource[] {
  const keys = new Set(refs.map(refKey))
  return resources.filter(resource => !keys.has(refKey(resource)))
}

function isListener({ typeUrl }: ResourceRef): boolean {
  return typeUrl === typeUrls.listener
}

/** A listener or a filter of one: both go at once, and Envoy keeps them while it drains. */
function isOfListener(ref: ResourceRef): boolean {
  return isListener(ref) || ref.typeUrl === typeUrls.filter
}
