/**
 * The Envoy layer of a node: what Envoy is told of each frontend (envoy/resources/frontend.ts), what it has
 * acknowledged, and which may therefore go there. Those that leave keep their configuration in Envoy while connections are
 * drained. A frontend counts as a port here; that by the VIP has the port's id.
 */

import type { Activity } from '../../envoy/program/admin.ts'
import { type Resource, type ResourceRef, refKey, typeNameOf, typeUrls } from '../../envoy/resource.ts'
import { addressesOf, externalId, type Frontend, frontendsOf, type Observed } from '../../envoy/resources/frontend.ts'
import { commonProtocolOf, type NodeOptions } from '../../envoy/resources/listener.ts'
import { lbPolicyOf } from '../../envoy/resources/loadbalancing.ts'
import { type SubsetOptions, withSubset } from '../../envoy/resources/subset.ts'
import type { VipPort } from '../../kernel/overlay.ts'
import type { IpFamily } from '../../net/address.ts'
import type { PortChange } from '../../plan/update.ts'
import type { LbPolicy, NodeLbPolicy } from '../../services/settings/settings.ts'
import type { Refusal, VersionedRef } from '../../xds/client.ts'
import type { ClientInfo, XdsObserver } from '../../xds/server.ts'
import { ResourceStore } from '../../xds/store.ts'
import type { ClientAddressChoice } from '../probes/clientaddress.ts'
import { ChangePace } from './changepace.ts'
import { Drains, type PortActivity } from './drains.ts'
import { moduleProblem } from './envoyproblems.ts'
import { Envoys, type EnvoysOptions } from './envoys.ts'
import { FairQueue } from './fairqueue.ts'
import { OverlayGate, type OverlayMove } from './gate.ts'
import { type Changes, PublishedFrontends } from './published.ts'
import { Refusals } from './refusals.ts'

export interface EnvoyLayerOptions extends EnvoysOptions, SubsetOptions {
  readonly settleMs: number
  readonly drainMs: number
  readonly drainIntervalMs: number
  /** See `NodeOptions`. */
  readonly clientMark: number | undefined
  readonly redirectPort: number
  /** See `BalancingNode`. */
  readonly lbPolicy: NodeLbPolicy
  /** Where the module of an Envoy is to keep what it sees of endpoints. */
  readonly latencyDirectory: string
  /** Whether no process but an Envoy listens on that port. */
  readonly isPortEnvoys: () => boolean
  readonly moveOverlay: (vips: readonly VipPort[], up: boolean) => void
  readonly clearOverlay: () => void
  /** Connections that came by these shall end: Envoy may connect to no endpoint of theirs any more. */
  readonly endConnections: (frontends: readonly VipPort[]) => void
  /** Ways to ports, by id, that went to Envoy or left it, each for itself. */
  readonly onMoved: (ids: readonly string[], move: OverlayMove) => void
  /** Undefined where Envoy does not answer. */
  readonly activity: () => Promise<Activity | undefined>
  readonly onRefusal: (servicePort: string) => void
  /** A changed resource is in effect in Envoy, this long after the change's arrival. */
  readonly onProgrammed: (frontend: string, ms: number) => void
  readonly onUp: (up: boolean) => void
  /** Envoy began to listen for redirected connections, or ceased to: `listening` says for which families. */
  readonly onListening: () => void
  readonly onConnected: () => void
}

/** What `explain` shows of a port in Envoy. */
export interface EnvoyView {
  readonly up: boolean
  readonly draining: boolean
  /** How many it has. */
  readonly endpoints: number
  /** See `Observed`. */
  readonly endConnections: boolean
  readonly resources: readonly {
    readonly type: string
    readonly name: string
    readonly version: string
    readonly status: 'acknowledged' | 'refused' | 'older version acknowledged' | 'not yet acknowledged'
    readonly detail?: string
  }[]
}

/** What Envoy is to be told of a frontend, and when the change that made it so arrived. */
interface WantedFrontend {
  readonly frontend: Frontend
  readonly arrived: number | undefined
}

const families: readonly IpFamily[] = ['IPv4', 'IPv6']

/** How often frontends are looked at that wait for the pace of changes. */
const laterMs = 1000

/** Each costs Envoy as much as a port whose connections end (drains.ts). Further ones are removed at once. */
const mostUnknown = 100

export class EnvoyLayer implements XdsObserver {
  readonly store = new ResourceStore()
  readonly envoys: Envoys
  readonly gate: OverlayGate
  readonly #options: EnvoyLayerOptions
  readonly #drains: Drains
  readonly #told: PublishedFrontends
  readonly #refusals: Refusals
  /** What Envoy is to be told of ports that left it, or moved within it, once the kernel has taken them over. */
  readonly #postponed = new Map<string, Frontend>()
  /** When what Envoy has of addresses that frontends no longer have is to go. */
  readonly #former = new Map<string, NodeJS.Timeout>()
  /** When the change that made a resource arrived, by type and name, until it is acknowledged. */
  readonly #awaited = new Map<string, number>()
  /** By id of the frontend. */
  readonly #observed = new Map<string, Observed>()
  /** The families whose connections of pods reach Envoy. */
  readonly #openPaths = new Set<IpFamily>()
  readonly #queue = new FairQueue<WantedFrontend>(wanted => this.#tellWanted(wanted))
  #isPortEnvoys = true
  readonly #pace = new ChangePace()
  /** Ways as they are to be once the pace of changes allows it. */
  readonly #later = new Map<string, Frontend>()
  #laterTimer: NodeJS.Timeout | undefined
  #hasBegun = false
  #stopped = false

  constructor(options: EnvoyLayerOptions) {
    this.#options = options
    this.#told = new PublishedFrontends(options)
    this.envoys = new Envoys(options, {
      changed: () => this.#envoysChanged(),
      admitting: id => (this.#comesDownFor(id) ? options.settleMs : 0),
    })
    this.gate = new OverlayGate({
      settleMs: options.settleMs,
      isReady: (ref, isUp) => this.envoys.have(ref) && this.#isReachable(ref) && (isUp || this.#isOwn(ref)),
      move: options.moveOverlay,
      clear: options.clearOverlay,
      onMoved: options.onMoved,
    })
    this.#drains = new Drains({
      drainMs: options.drainMs,
      intervalMs: options.drainIntervalMs,
      quietMs: id => this.#quietMs(id),
      activity: ids => this.#activity(ids),
      close: id => this.#change(changes => this.#tell(this.#told.get(id)!.frontend, changes)),
      finish: id => {
        this.#observed.delete(id)
        this.#change(changes => this.#told.forget(id, changes))
      },
    })
    this.#refusals = new Refusals({
      store: this.store,
      ownerOf: ref => this.#told.ownerOf(ref),
      sharedOf: ref => this.#sharedOf(ref),
      remedy: ref => this.#remedy(ref),
      onProblems: options.onProblems,
    })
    this.store.update({ put: options.shared })
  }

  /** All that there is at the start, before any Envoy connects. */
  begin(changes: readonly PortChange[]): void {
    this.apply(changes)
    this.#queue.finish()
    this.#hasBegun = true
  }

  /**
   * What leaves Envoy does so at once. What Envoy is told of the others is told in turns, small ones first.
   * @param arrived when the changes came, by performance.now(); undefined where nobody asks how long they take
   */
  apply(changes: readonly PortChange[], arrived?: number): void {
    const wanted: Frontend[] = []
    for (const { id, after } of changes) {
      const told = (frontend: Frontend) => this.#told.get(frontend.id)?.frontend
      const parts = (after ? frontendsOf(after) : []).map(frontend =>
        withSubset(frontend, this.#options, told(frontend)),
      )
      const frontends = new Map(parts.map(frontend => [frontend.id, frontend]))
      for (const frontendId of [id, externalId(id)]) {
        const frontend = frontends.get(frontendId)
        this.#postponed.delete(frontendId)
        this.#queue.remove(frontendId)
        this.#later.delete(frontendId)
        if (frontend?.layer.wants === 'envoy') {
          const now = this.#paced(frontend)
          if (now) wanted.push(now)
        } else if (this.#told.has(frontendId)) {
          this.#drains.start(frontendId)
          if (frontend) this.#postpone(frontend)
          else this.gate.unwant(frontendId)
        }
      }
    }
    this.#want(wanted, arrived)
  }

  /** What Envoy is to be told of the frontend now, where that is not to wait. */
  #paced(frontend: Frontend, hasWaited = false): Frontend | undefined {
    const told = this.#told.get(frontend.id)?.frontend
    const { frontend: now, isLater } = this.#hasBegun
      ? this.#pace.pace(frontend, told, this.#told.options)
      : { frontend, isLater: false }
    if (isLater) this.#later.set(frontend.id, frontend)
    this.#laterTimer ??= isLater ? setTimeout(() => this.#tellLater(), laterMs) : undefined
    if (!now) {
      // It has another place than Envoy knows.
      if (told) this.#drains.start(frontend.id)
      this.gate.unwant(frontend.id)
      return undefined
    }
    this.#drains.cancel(frontend.id)
    // The kernel has had what waited for long.
    if (hasWaited || !this.#told.hasMoved(now)) return now
    this.#postpone(now)
    return undefined
  }

  #tellLater(): void {
    this.#laterTimer = undefined
    const frontends = [...this.#later.values()]
    this.#later.clear()
    this.#want(frontends.map(frontend => this.#paced(frontend, true)).filter(frontend => frontend !== undefined))
  }

  /**
   * The kernel has these ports as they are now: nothing new is steered to Envoy of those that left it or moved. A port that
   * moved goes up again when Envoy has what it needs at its new place. Connections that a draining port has in Envoy
   * follow its endpoints still; had it been told before that there is none left, Envoy would have answered 503.
   */
  kernelApplied(ids: readonly string[]): void {
    const wanted: Frontend[] = []
    this.#change(changes => {
      for (const id of ids.flatMap(port => [port, externalId(port)])) {
        const [told, frontend] = [this.#told.get(id), this.#postponed.get(id)]
        this.#postponed.delete(id)
        if (!told || !frontend) continue
        if (frontend.layer.wants === 'envoy') wanted.push(frontend)
        else {
          if (frontend.isCut && frontend.endpoints.length === 0) this.#options.endConnections(addressesOf(frontend))
          this.#tell({ ...frontend, layer: told.frontend.layer }, changes)
        }
      }
    })
    this.#want(wanted)
  }

  #want(frontends: readonly Frontend[], arrived?: number): void {
    for (const frontend of frontends) this.#queue.add(frontend.id, { frontend, arrived }, frontend.endpoints.length)
    this.#queue.run()
  }

  #tellWanted(wanted: readonly WantedFrontend[]): void {
    this.#change(changes => {
      for (const { frontend, arrived } of wanted) {
        const before = changes.put.length
        this.#tell(frontend, changes)
        if (arrived === undefined) continue
        for (const resource of changes.put.slice(before)) this.#awaited.set(refKey(resource), arrived)
      }
    })
    for (const { frontend } of wanted) this.gate.want(frontend.id, addressesOf(frontend), this.#needs(frontend.id))
    if (wanted.some(({ frontend }) => frontend.settings.lbPolicy === 'PEAK_EWMA')) this.#reportModule()
  }

  #postpone(frontend: Frontend): void {
    this.gate.unwant(frontend.id)
    this.#postponed.set(frontend.id, frontend)
  }

  /** Whether connections of pods reach Envoy on this node; as long as nobody has said so, nothing is steered to it. */
  setPath(family: IpFamily, open: boolean): void {
    if (open) this.#openPaths.add(family)
    else this.#openPaths.delete(family)
    for (const [id, { frontend }] of this.#told.entries()) {
      if (frontend.family !== family) continue
      if (open) this.gate.check(id)
      else this.gate.checkLoss(id)
    }
  }

  /** Listeners change with the mark: Envoy lets those of before go on until their connections end or its drain time is over. */
  setClientAddress(choice: ClientAddressChoice, clientMark: number | undefined): void {
    this.envoys.setClientAddress(choice)
    if (clientMark !== this.#told.options.clientMark) this.#setNode({ clientMark })
  }

  /** Envoys without the module would refuse what names it: it is used where all of them have it. */
  #reviewModule(): void {
    const latencies = this.envoys.haveModule ? this.#options.latencyDirectory : undefined
    if (latencies !== this.#told.options.latencies) this.#setNode({ latencies })
    this.#reportModule()
  }

  #setNode(node: NodeOptions): void {
    this.#change(changes => this.#told.setNode(node, id => !this.#drains.has(id), changes))
  }

  #reportModule(): void {
    const frontends = [...this.#told.entries()].map(([, { frontend }]) => frontend)
    const without = frontends.filter(frontend => lbPolicyOf(frontend, this.#told.options).instead === 'module')
    const isKnown = this.envoys.all.length > 0
    this.#options.onProblems(
      'Envoy module',
      isKnown && without.length > 0 ? [moduleProblem(this.#options.nodeName, without)] : [],
    )
  }

  /** While another process listens on Envoy's port nothing is steered there. */
  get isPortEnvoys(): boolean {
    return this.#isPortEnvoys
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

  /** The id of the frontend whose address this is, as `hostPort` writes it. */
  frontendAt(address: string): string | undefined {
    return this.#told.ownerOf({ typeUrl: typeUrls.cluster, name: address })
  }

  /** As Envoy was told of it last. */
  frontendOf(id: string): Frontend | undefined {
    return this.#told.get(id)?.frontend
  }

  lbPolicyOf(frontend: Frontend): LbPolicy {
    return lbPolicyOf(frontend, this.#told.options).policy
  }

  /** What is not said of the frontend's endpoints stays as it was. */
  observe(id: string, seen: Observed): void {
    const frontend = this.frontendOf(id)
    if (!frontend) return
    this.#observed.set(id, { ...this.#observed.get(id), ...seen })
    this.#change(changes => this.#tell(frontend, changes))
  }

  view(id: string): EnvoyView | undefined {
    const told = this.#told.get(id)
    if (!told) return undefined
    const common = this.#told.commonOf(told.frontend)
    const resources = [...told.resources, ...(common ? [common] : [])].map(resource => {
      const { typeUrl, name, version } = this.store.get(resource.typeUrl, resource.name) ?? resource
      const detail = this.#refusals.detailOf({ typeUrl, name, version })
      const status = detail === undefined ? this.#status(resource) : 'refused'
      return { type: typeNameOf(typeUrl), name, version, status, detail }
    })
    return {
      up: this.gate.isUp(id),
      draining: this.#drains.has(id),
      endpoints: told.frontend.endpoints.length,
      endConnections: told.frontend.observed?.endConnections === true,
      resources,
    }
  }

  stop(): void {
    this.#stopped = true
    this.#queue.stop()
    this.envoys.stop()
    this.gate.stop()
    this.#drains.stop()
    this.#refusals.stop()
    clearTimeout(this.#laterTimer)
    for (const timer of this.#former.values()) clearTimeout(timer)
  }

  connected(client: ClientInfo): void {
    this.envoys.connected(client)
    this.#reviewModule()
    this.#options.onConnected()
  }

  acknowledged(clientId: number, resources: readonly VersionedRef[]): void {
    const ports = new Set<string>()
    for (const ref of resources) {
      const id = this.#told.ownerOf(ref)
      if (id !== undefined) ports.add(id)
      this.#noteProgrammed(ref)
      this.#refusals.acknowledged(clientId, ref)
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

  refused(clientId: number, refusal: Refusal): void {
    const { ref } = refusal
    this.#options.onRefusal(this.#told.ownerOf(ref) ?? ref.name)
    this.#awaited.delete(refKey(ref))
    if (!this.#stopped) this.#refusals.add(clientId, refusal)
  }

  settled(clientId: number): void {
    this.envoys.settled(clientId)
  }

  admitted(clientId: number): void {
    this.envoys.admitted(clientId)
  }

  /** A run of the agent before told Envoy of these: connections to addresses that nobody has now are to end. */
  unknown(_clientId: number, refs: readonly ResourceRef[]): void {
    const addresses = refs.filter(({ typeUrl }) => typeUrl === typeUrls.scope).slice(0, mostUnknown)
    this.#change(changes => {
      for (const { name } of addresses) this.#told.addFormer(name, changes)
    })
    for (const { name } of addresses) this.#leave(name, this.#options.drainMs)
  }

  disconnected(clientId: number): void {
    this.#refusals.disconnected(clientId)
    this.envoys.disconnected(clientId)
    if (!this.#stopped) this.#reviewModule()
  }

  /** What the ports' changes put and remove is told as one. */
  #change(collect: (changes: Changes) => void): void {
    const changes: Changes = { put: [], remove: [] }
    collect(changes)
    this.store.update(changes)
    if (changes.remove.length === 0) return
    // What is removed is waited for no more, and is nobody's problem.
    for (const ref of changes.remove) this.#awaited.delete(refKey(ref))
    this.#refusals.removed(changes.remove)
  }

  /** A draining frontend whose endpoints are gone can only answer 503: its connections shall end. */
  #tell(given: Frontend, changes: Changes): void {
    const observed = this.#observed.get(given.id)
    const frontend = given.observed === observed ? given : { ...given, observed }
    const isWanted = !this.#drains.has(frontend.id)
    const isEmpty = frontend.endpoints.length === 0
    const isLeaving = !isWanted && (isEmpty ? this.#drains.end(frontend.id) : this.#drains.isEnding(frontend.id))
    const ms = Math.min(this.#quietMs(frontend.id), this.#options.drainMs)
    for (const name of this.#told.tell(frontend, { isWanted, isLeaving }, changes)) this.#leave(name, ms)
  }

  /** Every connection there ends with its next answer, or when it had no request for so long; one of TCP has the drain time. */
  #leave(address: string, quietMs: number): void {
    clearTimeout(this.#former.get(address))
    const forgetCluster = () => {
      this.#former.delete(address)
      this.#change(changes => this.#told.forgetFormerCluster(address, changes))
    }
    const forgetRoutes = () => {
      this.#former.set(address, setTimeout(forgetCluster, this.#options.drainMs - quietMs))
      this.#change(changes => this.#told.forgetFormerRoutes(address, changes))
    }
    this.#former.set(address, setTimeout(forgetRoutes, quietMs))
  }

  #needs(id: string): readonly ResourceRef[] {
    const { frontend, resources } = this.#told.get(id)!
    const common = this.#told.commonOf(frontend)
    const redirect = this.#options.shared.filter(({ name }) => name.endsWith(frontend.family))
    return redirect.concat(common ?? [], resources)
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

  /** What has the name of an address may be another port's, which had the address then. */
  #isOwn(ref: ResourceRef): boolean {
    const isAnothers = ref.typeUrl === typeUrls.route || ref.typeUrl === typeUrls.cluster
    return !isAnothers || this.#status(ref) === 'acknowledged'
  }

  #status(ref: ResourceRef): EnvoyView['resources'][number]['status'] {
    const wanted = this.store.get(ref.typeUrl, ref.name)?.version
    const versions = this.envoys.acknowledged(ref)
    if (versions.length === 0 || versions.includes(undefined)) return 'not yet acknowledged'
    return versions.every(version => version === wanted) ? 'acknowledged' : 'older version acknowledged'
  }

  #noteProgrammed(ref: VersionedRef): void {
    const arrived = this.#awaited.get(refKey(ref))
    if (arrived === undefined || this.store.get(ref.typeUrl, ref.name)?.version !== ref.version) return
    this.#awaited.delete(refKey(ref))
    this.#options.onProgrammed(this.#told.ownerOf(ref) ?? ref.name, performance.now() - arrived)
  }

  /** Another process began to listen on the port of redirected connections, or ceased to. */
  portChanged(): void {
    this.#envoysChanged()
  }

  #envoysChanged(): void {
    if (this.#stopped) return
    this.#isPortEnvoys = this.#options.isPortEnvoys()
    this.gate.setAlive(this.envoys.isUp && this.#isPortEnvoys)
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

  #remedy(ref: ResourceRef): string {
    if (this.#redirectOf(ref)) return 'the kernel layer serves all Services; stop what uses the port, it is tried again'
    const id = this.#told.ownerOf(ref)
    if (id === undefined) return 'the kernel layer serves the http ports of this number; it is tried again'
    return this.gate.isUp(id)
      ? 'it keeps its last acknowledged configuration; correct its settings'
      : 'the kernel layer serves it; correct its settings'
  }

  /** A connection without a request is seen on a listener of the port's own alone; elsewhere Envoy closes it in time. */
  #quietMs(id: string): number {
    const told = this.#told.get(id)
    return (told && commonProtocolOf(told.frontend, this.#told.options)?.idleTimeout) ?? 0
  }

  /** What goes on at these ports, all frontends of each together; undefined where an Envoy does not answer. */
  async activityOf(ids: readonly string[]): Promise<ReadonlyMap<string, PortActivity> | undefined> {
    const known = ids.filter(id => this.#told.has(id))
    const frontends = known.flatMap(id => (this.#told.has(externalId(id)) ? [id, externalId(id)] : [id]))
    const found = await this.#activity(frontends)
    if (!found) return undefined
    const total = (id: string) => {
      const each = [id, externalId(id)].flatMap(frontend => found.get(frontend) ?? [])
      const sum = (of: (one: PortActivity) => number) => each.reduce((sum, one) => sum + of(one), 0)
      return { open: sum(({ open }) => open), answers: sum(({ answers }) => answers) }
    }
    return new Map(known.map(id => [id, total(id)]))
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
