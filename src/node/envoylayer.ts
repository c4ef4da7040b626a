/**
 * The Envoy layer of a node: what Envoy is told of each way to a Service port (envoy/way.ts), what it has
 * acknowledged, and which may therefore go there. Those that leave keep their configuration in Envoy while connections are
 * drained. A way counts as a port here; that by the VIP has the port's id.
 */

import type { Activity } from '../envoy/admin.ts'
import { commonProtocolOf } from '../envoy/listener.ts'
import { type Resource, type ResourceRef, refKey, type TypeUrl, typeUrls } from '../envoy/resource.ts'
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
import { Drains, type PortActivity } from './drains.ts'
import { Envoys, type EnvoysOptions } from './envoys.ts'
import { OverlayGate } from './gate.ts'
import { type Changes, ToldWays } from './toldways.ts'

export interface EnvoyLayerOptions extends EnvoysOptions {
  readonly settleMs: number
  readonly drainMs: number
  readonly drainIntervalMs: number
  /** See `NodeOptions`. */
  readonly clientMark: number | undefined
  readonly redirectPort: number
  readonly moveOverlay: (vips: readonly VipPort[], up: boolean) => void
  readonly clearOverlay: () => void
  /** Ways to ports, by id, that went to Envoy or left it, each for itself. */
  readonly onMoved: (ids: readonly string[], up: boolean) => void
  /** Undefined where Envoy does not answer. */
  readonly activity: () => Promise<Activity | undefined>
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
  readonly #drains: Drains
  readonly #told: ToldWays
  /** What Envoy is to be told of ports that left it, once the kernel has taken them over. */
  readonly #postponed = new Map<string, Way>()
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
    this.#told = new ToldWays(options)
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
      quietMs: id => this.#quietMs(id),
      activity: ids => this.#activity(ids),
      close: id => this.#change(changes => this.#tell(this.#told.get(id)!.way, changes)),
      finish: id => this.#change(changes => this.#forget(id, changes)),
    })
    this.store.update({ put: options.shared })
  }

  /** @param arrived when the changes came, by performance.now(); undefined where nobody asks how long they take */
  apply(changes: readonly PortChange[], arrived?: number): void {
    const wanted: Way[] = []
    this.#change(told => {
      for (const { id, after } of changes) {
        const ways = new Map((after ? waysOf(after) : []).map(way => [way.id, way]))
        for (const wayId of [id, externalId(id)]) {
          const way = ways.get(wayId)
          if (way?.layer.wants === 'envoy') {
            wanted.push(way)
            this.#drains.cancel(wayId)
            this.#postponed.delete(wayId)
            this.#tell(way, told)
          } else if (this.#told.has(wayId)) {
            this.gate.unwant(wayId)
            this.#drains.start(wayId)
            if (way) this.#postponed.set(wayId, way)
          }
        }
      }
      if (arrived !== undefined) for (const resource of told.put) this.#awaited.set(refKey(resource), arrived)
    })
    for (const way of wanted) this.gate.want(way.id, addressesOf(way), this.#needs(way.id))
  }

  /**
   * The kernel has these ports as they are now. Connections that a draining port has in Envoy follow its endpoints still;
   * but that there is none left is told to Envoy only when nothing new is steered to it, since it would answer 503.
   */
  kernelApplied(ids: readonly string[]): void {
    this.#change(changes => {
      for (const id of ids.flatMap(port => [port, externalId(port)])) {
        const [told, way] = [this.#told.get(id), this.#postponed.get(id)]
        this.#postponed.delete(id)
        if (told && way) this.#tell({ ...way, layer: told.way.layer }, changes)
      }
    })
  }

  /** Whether connections of pods reach Envoy on this node; as long as nobody has said so, nothing is steered to it. */
  setPath(family: IpFamily, open: boolean): void {
    if (open) this.#openPaths.add(family)
    else this.#openPaths.delete(family)
    for (const [id, { way }] of this.#told.entries()) {
      if (way.family !== family) continue
      if (open) this.gate.check(id)
      else this.gate.checkLoss(id)
    }
  }

  /** Listeners change with the mark: Envoy lets those of before go on until their connections end or its drain time is over. */
  setClientAddress(choice: ClientAddressChoice, clientMark: number | undefined): void {
    this.envoys.setClientAddress(choice)
    if (clientMark === this.#told.options.clientMark) return
    this.#change(changes => this.#told.setClientMark(clientMark, id => !this.#drains.has(id), changes))
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
    const common = this.#told.commonOf(told.way)
    const resources = [...told.resources, ...(common ? [common] : [])].map(resource => {
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
      const id = this.#told.ownerOf(ref)
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
      const id = this.#told.ownerOf(ref)
      if (id !== undefined) this.gate.checkLoss(id)
    }
    if (refs.some(ref => this.#sharedOf(ref))) this.envoys.sharedChanged()
  }

  refused(_clientId: number, refusal: Refusal): void {
    const { ref } = refusal
    const id = this.#told.ownerOf(ref) ?? ref.name
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

  /** What the ports' changes put and remove is told as one. */
  #change(collect: (changes: Changes) => void): void {
    const changes: Changes = { put: [], remove: [] }
    collect(changes)
    this.store.update(changes)
  }

  /** A draining way whose endpoints are gone can only answer 503: its connections shall end. */
  #tell(way: Way, changes: Changes): void {
    const isLeaving = this.#drains.has(way.id) && (way.endpoints.length === 0 || this.#drains.isOver(way.id))
    this.#told.tell(way, isLeaving, changes)
    this.#settleRemoved(way.id, changes)
  }

  #forget(id: string, changes: Changes): void {
    this.#told.forget(id, changes)
    this.#settleRemoved(id, changes)
  }

  /** What is removed is waited for no more, and is nobody's problem. */
  #settleRemoved(id: string, { remove }: Changes): void {
    if (remove.length === 0) return
    for (const ref of remove) {
      this.#awaited.delete(refKey(ref))
      this.#refusals.delete(refKey(ref))
    }
    this.#report(id)
  }

  #needs(id: string): readonly ResourceRef[] {
    const { way, resources } = this.#told.get(id)!
    const common = this.#told.commonOf(way)
    const redirect = this.#options.shared.filter(({ name }) => name.endsWith(way.family))
    return [...redirect, ...(common ? [common] : []), ...resources]
  }

  /** What all ports of a family, or all of a port number, need. */
  #sharedOf(ref: ResourceRef): Resource | undefined {
    return this.#redirectOf(ref) ?? this.#told.commonAt(ref)
  }

  #redirectOf(ref: ResourceRef): Resource | undefined {
    return this.#options.shared.find(({ typeUrl, name }) => typeUrl === ref.typeUrl && name === ref.name)
  }

  #isReachable(ref: ResourceRef): boolean {
    return !this.#redirectOf(ref) || [...this.#openPaths].some(family => ref.name.endsWith(family))
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
    for (const [id] of this.#told.entries()) this.gate.check(id)
    this.#options.onListening()
  }

  /** What an Envoy that is to take connections does not have is for the kernel layer. Returns whether there is any. */
  #comesDownFor(clientId: number): boolean {
    const isMissing = (resource: Resource) => this.#options.acknowledgedVersion(clientId, resource) === undefined
    const lost = [...this.#told.entries()].filter(([id, told]) => this.gate.isUp(id) && told.resources.some(isMissing))
    for (const [id] of lost) this.gate.checkLoss(id)
    return lost.length > 0
  }

  #report(id: string): void {
    const refusals = [...this.#refusals.values()].filter(({ ref }) => (this.#told.ownerOf(ref) ?? ref.name) === id)
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

  /** A connection without a request is seen on a listener of the port's own alone; elsewhere Envoy closes it in time. */
  #quietMs(id: string): number {
    const told = this.#told.get(id)
    return (told && commonProtocolOf(told.way, this.#told.options)?.idleTimeout) ?? 0
  }

  async #activity(ids: readonly string[]): Promise<ReadonlyMap<string, PortActivity> | undefined> {
    const all = await this.#options.activity()
    return all && new Map(ids.map(id => [id, this.#activityOf(id, all)]))
  }

  /** Connections of a listener that another port has taken over are not counted apart: they may last the whole drain time. */
  #activityOf(id: string, { connections, requests, answers }: Activity): PortActivity {
    const listeners = this.#told.listenersOf(id)
    const open = listeners?.reduce((sum, name) => sum + connections(name), 0) ?? 1
    return { open: open + requests(id), answers: answers(id) }
  }
}

function typeName(typeUrl: TypeUrl): string {
  return Object.entries(typeUrls).find(([, url]) => url === typeUrl)![0]
}
