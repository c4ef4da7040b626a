/**
 * What Envoy is told of each way to a Service port, wanted there or draining, and which way a listener, scope or route
 * belongs to: their names are addresses, which may go from one Service to another.
 */

import { commonListener, type NodeOptions } from '../envoy/listener.ts'
import { type Resource, type ResourceRef, refKey, typeUrls } from '../envoy/resource.ts'
import { resourcesOf, type Told } from '../envoy/resources.ts'
import type { Way } from '../envoy/way.ts'

/** What is to change in the store; collected over several ways. */
export interface Changes {
  readonly put: Resource[]
  readonly remove: ResourceRef[]
}

interface ToldWay extends Told {
  /** What another way has taken over of this one. */
  readonly lost: readonly ResourceRef[]
}

export class ToldWays {
  #options: NodeOptions
  readonly #told = new Map<string, ToldWay>()
  /** The way that a listener, scope or route belongs to, by type and name. */
  readonly #placeOwner = new Map<string, string>()
  /** The listeners that ways share, by name. They stay when the last of these goes. */
  readonly #common = new Map<string, Resource>()

  constructor(options: NodeOptions) {
    this.#options = options
  }

  has(id: string): boolean {
    return this.#told.has(id)
  }

  get(id: string): ToldWay | undefined {
    return this.#told.get(id)
  }

  /** The ways and their ids. */
  entries(): Iterable<[string, ToldWay]> {
    return this.#told.entries()
  }

  get options(): NodeOptions {
    return this.#options
  }

  /** What has the way's address is taken over from a draining way that had it. */
  tell(way: Way, isLeaving: boolean, { put, remove }: Changes): void {
    const before = this.#told.get(way.id)
    const options = { ...this.#options, isLeaving }
    const resources = resourcesOf(way, options, isWhole(before) ? before : undefined)
    const common = this.#addCommon(way)
    if (common) put.push(common)
    for (const resource of resources) {
      if (isPlace(resource)) this.#take(resource, way.id)
      if (!before?.resources.includes(resource)) put.push(resource)
    }
    const names = new Set(resources.map(refKey))
    const left = (before?.resources ?? []).filter(old => !names.has(refKey(old)))
    this.#told.set(way.id, { way, isLeaving, resources, lost: [] })
    remove.push(...this.#release(way.id, left))
  }

  forget(id: string, { remove }: Changes): void {
    const resources = this.#told.get(id)?.resources ?? []
    this.#told.delete(id)
    remove.push(...this.#release(id, resources))
  }

  /** Of the ways that `isOf` does not leave out, all listeners are told anew. */
  setClientMark(clientMark: number | undefined, isOf: (id: string) => boolean, { put }: Changes): void {
    this.#options = { ...this.#options, clientMark }
    const ways = [...this.#told].filter(([id, told]) => isWhole(told) && isOf(id))
    for (const [id, told] of ways) {
      const resources = resourcesOf(told.way, this.#options)
      this.#told.set(id, { ...told, resources })
      put.push(...resources.filter(isListener))
    }
    this.#common.clear()
    for (const { way } of this.#told.values()) {
      const common = this.#addCommon(way)
      if (common) put.push(common)
    }
  }

  /** The listener that the way shares with others. */
  commonOf(way: Way): Resource | undefined {
    const listener = commonListener(way, this.#options)
    return listener && this.#common.get(listener.name)
  }

  /** The listener that ways share, where this is one. */
  commonAt({ typeUrl, name }: ResourceRef): Resource | undefined {
    return typeUrl === typeUrls.listener ? this.#common.get(name) : undefined
  }

  /** The names of the listeners that the way has for itself; undefined where another way has taken one over. */
  listenersOf(id: string): readonly string[] | undefined {
    const told = this.#told.get(id)
    if (!told || told.lost.some(isListener)) return undefined
    return told.resources.filter(isListener).map(({ name }) => name)
  }

  ownerOf(ref: ResourceRef): string | undefined {
    if (isPlace(ref)) return this.#placeOwner.get(refKey(ref))
    return this.#told.has(ref.name) ? ref.name : undefined
  }

  #addCommon(way: Way): Resource | undefined {
    const listener = commonListener(way, this.#options)
    if (!listener || this.#common.has(listener.name)) return undefined
    this.#common.set(listener.name, listener)
    return listener
  }

  /** Connections that the former owner has there are still open, so all else of it stays in Envoy while it drains. */
  #take(place: ResourceRef, id: string): void {
    const key = refKey(place)
    const owner = this.#placeOwner.get(key) ?? id
    this.#placeOwner.set(key, id)
    const told = owner === id ? undefined : this.#told.get(owner)
    if (!told) return
    const resources = told.resources.filter(resource => refKey(resource) !== key)
    this.#told.set(owner, { ...told, resources, lost: [...told.lost, place] })
  }

  /** Returns what is to be removed from Envoy of what a way had: all but what another way has taken over. */
  #release(id: string, resources: readonly Resource[]): readonly ResourceRef[] {
    const released = resources.filter(resource => !isPlace(resource) || this.#placeOwner.get(refKey(resource)) === id)
    for (const resource of released) if (isPlace(resource)) this.#placeOwner.delete(refKey(resource))
    return released
  }
}

function isWhole(told: ToldWay | undefined): boolean {
  return told !== undefined && told.lost.length === 0
}

function isPlace(ref: ResourceRef): boolean {
  return isListener(ref) || ref.typeUrl === typeUrls.scope || ref.typeUrl === typeUrls.route
}

function isListener({ typeUrl }: ResourceRef): boolean {
  return typeUrl === typeUrls.listener
}
