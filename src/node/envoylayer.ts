/**
 * The Envoy layer of a node: what Envoy is told of each way to a Service port (envoy/way.ts), what it has
 * acknowledged, and which may therefore go there. Those that leave keep their configuration in Envoy while connections are
 * drained. A way counts as a port here; that by the VIP has the port's id.
 */

import { type Resource, type ResourceRef, refKey, type TypeUrl, typeUrls } from '../envoy/resource.ts'
import { resourcesOf, type Told } from '../envoy/resources.ts'
import { addressesOf, externalId, type Way, waysOf } from '../envoy/way.ts'
import type { VipPort } from '../kernel/overlay.ts'
import type { IpFamily } from '../services/address.ts'
import { serviceKeyOf } from '../services/port.ts'
import { problem } from '../services/problem.ts'
import type { PortChange } from '../services/table.ts'
import type { Refusal, VersionedRef } from '../xds/client.ts'
import type { ClientInfo, XdsObserver } from '../xds/server.ts'
import { ResourceStore } from '../xds/store.ts'
import type { ClientAddressChoice } from './clientaddress.ts'
import { Drains } from './drains.ts'
import { Envoys, type EnvoysOptions } from './envoys.ts'
import { OverlayGate } from './gate.ts'

export interface EnvoyLayerOptions extends EnvoysOptions {
  readonly settleMs: number
  readonly drainMs: number
  readonly drainIntervalMs: number
  /** See `resourcesOf`. */
  readonly clientMark: number | undefined
  readonly moveOverlay: (vips: readonly VipPort[], up: boolean) => void
  readonly clearOverlay: () => void
  /** Ways to ports, by id, that went to Envoy or left it, each for itself. */
  readonly onMoved: (ids: readonly string[], up: boolean) => void
  /** Open connections of listeners in Envoy, by listener name; undefined where Envoy does not answer. */
  readonly connections: (listeners: readonly string[]) => Promise<ReadonlyMap<string, number> | undefined>
  readonly onRefusal: (servicePort: string) => void
  /** A changed resource is in effect in Envoy, this long after the change's arrival. */
  readonly onProgrammed: (ref: ResourceRef, ms: number) => void
  readonly onUp: (up: boolean) => void
  /** Envoy began to listen for redirected connections, or ceased to: `listening` says for which families. */
  readonly onListening: () => void
  readonly onConnected: () => void
}

/** What `explain` shows of a port in Envoy. */
export interface EnvoyView {
  readonly up: boolean
  readonly draining: boolean
  readonly resources: readonly {
    readonly type: string
    readonly name: string
    readonly version: string
    readonly status: 'acknowledged' | 'refused' | 'older version acknowledged' | 'not yet acknowledged'
    readonly detail?: string
  }[]
}

const longestRetryMs = 60_000
const families: readonly IpFamily[] = ['IPv4', 'IPv6']

export class EnvoyLayer implements XdsObserver {
  readonly store = new ResourceStore()
  readonly envoys: Envoys
  readonly gate: OverlayGate
  readonly #options: EnvoyLayerOptions
  #clientMark: number | undefined
  readonly #drains: Drains
  /** What Envoy is told of each port, wanted there or draining, by port state id. */
  readonly #told = new Map<string, Told>()
  /** What Envoy is to be told of ports that left it, once the kernel has taken them over. */
  readonly #postponed = new Map<string, Way>()
  /** The port that a listener belongs to, by the listener's name. */
  readonly #listenerOwner = new Map<string, string>()
  readonly #refusals = new Map<string, Refusal>()
  /** Shared resources that Envoy refused, by name: how often, and when they are told again. */
  readonly #retries = new Map<string, { readonly count: number; readonly timer: NodeJS.Timeout }>()
  /** When the change that made a resource arrived, by type and name, until it is acknowledged. */
  readonly #awaited = new Map<string, number>()
  /** The families whose connections of pods reach Envoy. */
  readonly #openPaths = new Set<IpFamily>()
  #stopped = false

  constructor(options: EnvoyLayerOptions) {
    this.#options = options
    this.#clientMark = options.clientMark
    this.envoys = new Envoys(options, {
      changed: () => this.#envoysChanged(),
      admitting: id => (this.#comesDownFor(id) ? options.settleMs : 0),
    })
    this.gate = new OverlayGate({
      settleMs: options.settleMs,
      isReady: ref => this.envoys.have(ref) && this.#isReachable(ref),
      move: options.moveOverlay,
      clear: options.clearOverlay,
      onMoved: options.onMoved,
    })
    this.#drains = new Drains({
      drainMs: options.drainMs,
      intervalMs: options.drainIntervalMs,
      connections: ids => this.#connections(ids),
      finish: id => this.store.update({ remove: this.#forget(id) }),
    })
    this.store.update({ put: options.shared })
  }

  /** @param arrived when the changes came, by performance.now(); undefined where nobody asks how long they take */
  apply(changes: readonly PortChange[], arrived?: number): void {
    const put: Resource[] = []
    const remove: ResourceRef[] = []
    const wanted: Way[] = []
    for (const { id, after } of changes) {
      const ways = new Map((after ? waysOf(after) : []).map(way => [way.id, way]))
      for (const wayId of [id, externalId(id)]) {
        const way = ways.get(wayId)
        if (way?.layer.wants === 'envoy') {
          wanted.push(way)
          this.#drains.cancel(wayId)
          this.#postponed.delete(wayId)
          this.#tell(way, put, remove)
        } else if (this.#told.has(wayId)) {
          this.gate.unwant(wayId)
          this.#drains.start(wayId)
          if (way) this.#postponed.set(wayId, way)
        }
      }
    }
    if (arrived !== undefined) for (const resource of put) this.#awaited.set(refKey(resource), arrived)
    this.store.update({ put, remove })
    for (const way of wanted) this.gate.want(way.id, addressesOf(way), this.#needs(way.id))
  }

  /**
   * The kernel has these ports as they are now. Connections that a draining port has in Envoy follow its endpoints still;
   * but that there is none left is told to Envoy only when nothing new is steered to it, since it would answer 503.
   */
  kernelApplied(ids: readonly string[]): void {
    const put: Resource[] = []
    const remove: ResourceRef[] = []
    for (const id of ids.flatMap(port => [port, externalId(port)])) {
      const [told, way] = [this.#told.get(id), this.#postponed.get(id)]
      this.#postponed.delete(id)
      if (told && way) this.#tell({ ...way, layer: told.way.layer }, put, remove)
    }
    this.store.update({ put, remove })
  }

  /** Whether connections of pods reach Envoy on this node; as long as nobody has said so, nothing is steered to it. */
  setPath(family: IpFamily, open: boolean): void {
    if (open) this.#openPaths.add(family)
    else this.#openPaths.delete(family)
    for (const [id, { way }] of this.#told) {
      if (way.family !== family) continue
      if (open) this.gate.check(id)
      else this.gate.checkLoss(id)
    }
  }

  /** Listeners change with the mark: Envoy lets those of before go on until their connections end or its drain time is over. */
  setClientAddress(choice: ClientAddressChoice, clientMark: number | undefined): void {
    this.envoys.setClientAddress(choice)
    if (clientMark === this.#clientMark) return
    this.#clientMark = clientMark
    const put: Resource[] = []
    for (const [id, told] of this.#told) {
      if (this.#drains.has(id) || !hasItsListeners(told)) continue
      const resources = resourcesOf(told.way, undefined, clientMark)
      this.#told.set(id, { ...told, resources })
      put.push(...resources.filter(isListener))
    }
    this.store.update({ put })
  }

  isPathOpen(family: IpFamily): boolean {
    return this.#openPaths.has(family)
  }

  /** The families for which Envoy takes redirected connections. */
  get listening(): readonly IpFamily[] {
    if (!this.envoys.isUp) return []
    const acknowledged = this.#options.shared.filter(resource => this.envoys.have(resource))
    return families.filter(family => acknowledged.some(({ name }) => name.endsWith(family)))
  }

  /** What only Envoys have that take new connections. */
  get shared(): readonly ResourceRef[] {
    return this.#options.shared
  }

  get draining(): number {
    return this.#drains.size
  }

  view(id: string): EnvoyView | undefined {
    const told = this.#told.get(id)
    if (!told) return undefined
    const resources = told.resources.map(resource => {
      const { typeUrl, name, version } = resource
      const refusal = this.#refusals.get(refKey(resource))
      return { type: typeName(typeUrl), name, version, status: this.#status(resource), detail: refusal?.detail }
    })
    return { up: this.gate.isUp(id), draining: this.#drains.has(id), resources }
  }

  stop(): void {
    this.#stopped = true
    this.envoys.stop()
    this.gate.stop()
    this.#drains.stop()
    for (const { timer } of this.#retries.values()) clearTimeout(timer)
  }

  connected(client: ClientInfo): void {
    this.envoys.connected(client)
    this.#options.onConnected()
  }

  acknowledged(_clientId: number, resources: readonly VersionedRef[]): void {
    const ports = new Set<string>()
    for (const ref of resources) {
      const id = this.#ownerOf(ref)
      if (id !== undefined) ports.add(id)
      this.#noteProgrammed(ref)
      if (this.#refusals.delete(refKey(ref))) this.#report(id ?? ref.name)
    }
    for (const id of ports) this.gate.check(id)
    if (resources.some(ref => this.#sharedOf(ref))) this.envoys.sharedChanged()
  }

  /** Also of what an Envoy put aside without being told to: endpoints that it refused while their cluster changed. */
  gone(_clientId: number, refs: readonly ResourceRef[]): void {
    for (const ref of refs) {
      const id = this.#ownerOf(ref)
      if (id !== undefined) this.gate.checkLoss(id)
    }
    if (refs.some(ref => this.#sharedOf(ref))) this.envoys.sharedChanged()
  }

  refused(_clientId: number, refusal: Refusal): void {
    const { ref } = refusal
    const id = this.#ownerOf(ref) ?? ref.name
    this.#options.onRefusal(id)
    // What was removed or changed meanwhile is nobody's problem any more.
    if (this.store.get(ref.typeUrl, ref.name)?.version !== refusal.version) return
    this.#refusals.set(refKey(ref), refusal)
    this.#awaited.delete(refKey(ref))
    this.#report(id)
    this.#tellAgain(ref)
  }

  /**
   * A listener that all Services need is refused while its port is taken, and once that is free it is to be there. It is
   * told as a new version, since Envoy is not told a version again that it refused.
   */
  #tellAgain(ref: ResourceRef): void {
    const resource = this.#sharedOf(ref)
    if (!resource || this.#stopped) return
    const before = this.#retries.get(ref.name)
    const count = (before?.count ?? 0) + 1
    clearTimeout(before?.timer)
    const tell = () => this.store.update({ put: [{ ...resource, version: `${resource.version}-${count}` }] })
    this.#retries.set(ref.name, { count, timer: setTimeout(tell, Math.min(500 * 2 ** count, longestRetryMs)) })
  }

  settled(clientId: number): void {
    this.envoys.settled(clientId)
  }

  admitted(clientId: number): void {
    this.envoys.admitted(clientId)
  }

  disconnected(clientId: number): void {
    this.envoys.disconnected(clientId)
  }

  /** Puts what Envoy has to know of a way. A listener that a draining one had is taken over. */
  #tell(way: Way, put: Resource[], remove: ResourceRef[]): void {
    const before = this.#told.get(way.id)
    const resources = resourcesOf(way, before && hasItsListeners(before) ? before : undefined, this.#clientMark)
    for (const resource of resources) {
      if (isListener(resource)) this.#takeListener(resource, way.id)
      if (!before?.resources.includes(resource)) put.push(resource)
    }
    const names = new Set(resources.map(refKey))
    const left = (before?.resources ?? []).filter(old => !names.has(refKey(old)))
    this.#told.set(way.id, { way, resources })
    if (left.length > 0) remove.push(...this.#release(way.id, left))
  }

  /** Connections that the former owner has there are still open, so all else of it stays in Envoy while it drains. */
  #takeListener({ name }: ResourceRef, id: string): void {
    const owner = this.#listenerOwner.get(name) ?? id
    this.#listenerOwner.set(name, id)
    const told = owner === id ? undefined : this.#told.get(owner)
    if (!told) return
    const resources = told.resources.filter(resource => !isListener(resource) || resource.name !== name)
    this.#told.set(owner, { ...told, resources })
  }

  #forget(id: string): readonly ResourceRef[] {
    const resources = this.#told.get(id)?.resources ?? []
    this.#told.delete(id)
    return this.#release(id, resources)
  }

  /** Returns what is to be removed from Envoy of what a port had: all but a listener that another port has taken over. */
  #release(id: string, resources: readonly Resource[]): readonly ResourceRef[] {
    const remove = resources.filter(resource => !isListener(resource) || this.#listenerOwner.get(resource.name) === id)
    for (const resource of remove) {
      if (isListener(resource)) this.#listenerOwner.delete(resource.name)
      this.#awaited.delete(refKey(resource))
      this.#refusals.delete(refKey(resource))
    }
    this.#report(id)
    return remove
  }

  #needs(id: string): readonly ResourceRef[] {
    const { way, resources } = this.#told.get(id)!
    return this.#options.shared.filter(({ name }) => name.endsWith(way.family)).concat(resources)
  }

  #ownerOf(ref: ResourceRef): string | undefined {
    if (isListener(ref)) return this.#listenerOwner.get(ref.name)
    return this.#told.has(ref.name) ? ref.name : undefined
  }

  #sharedOf(ref: ResourceRef): Resource | undefined {
    return this.#options.shared.find(({ typeUrl, name }) => typeUrl === ref.typeUrl && name === ref.name)
  }

  #isReachable(ref: ResourceRef): boolean {
    return !this.#sharedOf(ref) || [...this.#openPaths].some(family => ref.name.endsWith(family))
  }

  #status(resource: Resource): EnvoyView['resources'][number]['status'] {
    if (this.#refusals.get(refKey(resource))?.version === resource.version) return 'refused'
    const versions = this.envoys.acknowledged(resource)
    if (versions.length === 0 || versions.includes(undefined)) return 'not yet acknowledged'
    return versions.every(version => version === resource.version) ? 'acknowledged' : 'older version acknowledged'
  }

  #noteProgrammed(ref: VersionedRef): void {
    const arrived = this.#awaited.get(refKey(ref))
    if (arrived === undefined || this.store.get(ref.typeUrl, ref.name)?.version !== ref.version) return
    this.#awaited.delete(refKey(ref))
    this.#options.onProgrammed(ref, performance.now() - arrived)
  }

  #envoysChanged(): void {
    if (this.#stopped) return
    this.gate.setAlive(this.envoys.isUp)
    this.#options.onUp(this.envoys.isUp)
    for (const id of this.#told.keys()) this.gate.check(id)
    this.#options.onListening()
  }

  /** What an Envoy that is to take connections does not have is for the kernel layer. Returns whether there is any. */
  #comesDownFor(clientId: number): boolean {
    const isMissing = (resource: Resource) => this.#options.acknowledgedVersion(clientId, resource) === undefined
    const lost = [...this.#told].filter(([id, told]) => this.gate.isUp(id) && told.resources.some(isMissing))
    for (const [id] of lost) this.gate.checkLoss(id)
    return lost.length > 0
  }

  #report(id: string): void {
    const refusals = [...this.#refusals.values()].filter(({ ref }) => (this.#ownerOf(ref) ?? ref.name) === id)
    const object = id.includes('/') ? `Service ${serviceKeyOf(id)}` : `Envoy listener ${id}`
    const problems = refusals.map(({ ref, detail }) => {
      const words = detail.trim().replaceAll('\n', '; ')
      return problem('LP301', object, `Envoy refused ${typeName(ref.typeUrl)} ${ref.name}: ${words}`, this.#remedy(id))
    })
    this.#options.onProblems(`Envoy ${id}`, problems)
  }

  #remedy(id: string): string {
    if (!this.#told.has(id)) return 'the kernel layer serves all Services; stop what uses the port, it is tried again'
    return this.gate.isUp(id)
      ? 'it keeps its last acknowledged configuration; correct its settings'
      : 'the kernel layer serves it; correct its settings'
  }

  /** Connections of a listener that another port has taken over are not counted apart: they may last the whole drain time. */
  async #connections(ids: readonly string[]): Promise<ReadonlyMap<string, number> | undefined> {
    const listeners = new Map(ids.map(id => [id, this.#listenersOf(id)]))
    const open = await this.#options.connections([...listeners.values()].flatMap(names => names ?? []))
    const count = (names: readonly string[] | undefined) =>
      names?.reduce((sum, name) => sum + (open!.get(name) ?? 0), 0) ?? 1
    return open && new Map([...listeners].map(([id, names]) => [id, count(names)]))
  }

  /** Names; undefined where another port has taken one over. */
  #listenersOf(id: string): readonly string[] | undefined {
    const told = this.#told.get(id)
    return told && hasItsListeners(told) ? told.resources.filter(isListener).map(({ name }) => name) : undefined
  }
}

/** Whether no other port has taken one over. */
function hasItsListeners({ way, resources }: Told): boolean {
  return resources.filter(isListener).length === addressesOf(way).length
}

function isListener({ typeUrl }: ResourceRef): boolean {
  return typeUrl === typeUrls.listener
}

function typeName(typeUrl: TypeUrl): string {
  return Object.entries(typeUrls).find(([, url]) => url === typeUrl)![0]
}
