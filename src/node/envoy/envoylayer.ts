/**
 * The Envoy layer of a node: what its Envoys report, and what follows for the frontends that they serve (../lifecycle). Some
 * reports concern all frontends: that an Envoy comes or goes, that it listens for redirected connections.
 */

import type { Activity } from '../../envoy/program/admin.ts'
import { type Resource, type ResourceRef, typeUrls } from '../../envoy/resource.ts'
import type { Frontend, Observed } from '../../envoy/resources/frontend.ts'
import type { NodeOptions } from '../../envoy/resources/listener.ts'
import { lbPolicyOf } from '../../envoy/resources/loadbalancing.ts'
import type { SubsetOptions } from '../../envoy/resources/subset.ts'
import type { VipPort } from '../../kernel/overlay.ts'
import type { IpFamily } from '../../net/address.ts'
import type { PortChange } from '../../plan/update.ts'
import type { LbPolicy, NodeLbPolicy } from '../../services/settings/settings.ts'
import type { Nack, VersionedRef } from '../../xds/client/messages.ts'
import type { ClientInfo, XdsObserver } from '../../xds/session.ts'
import { ResourceStore } from '../../xds/store.ts'
import { activityOf, activityOfPort } from '../lifecycle/activity.ts'
import { Drains, type FrontendActivity } from '../lifecycle/drains.ts'
import type { Lifecycle } from '../lifecycle/lifecycle.ts'
import { PublishedFrontends } from '../lifecycle/published.ts'
import { Publisher } from '../lifecycle/publisher.ts'
import { Reconciler } from '../lifecycle/reconciler.ts'
import { type RedirectMove, RedirectSet } from '../lifecycle/redirectset.ts'
import type { ClientAddressChoice } from '../probes/clientaddress.ts'
import { moduleProblem } from './envoyproblems.ts'
import { Envoys, type EnvoysOptions } from './envoys.ts'
import { Nacks } from './nacks.ts'
import { type EnvoyView, statusOf, viewOf } from './view.ts'

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
  readonly redirect: (addresses: readonly VipPort[], isRedirected: boolean) => void
  readonly clearRedirects: () => void
  /** Connections that came by these shall end: Envoy may connect to no endpoint of theirs any more. */
  readonly endConnections: (addresses: readonly VipPort[]) => void
  /** Ways to ports, by id, that went to Envoy or left it, each for itself. */
  readonly onMoved: (ids: readonly string[], move: RedirectMove) => void
  /** Undefined where Envoy does not answer. */
  readonly activity: () => Promise<Activity | undefined>
  readonly onNack: (servicePort: string) => void
  /** A changed resource is in effect in Envoy, this long after the change's arrival. */
  readonly onProgrammed: (frontend: string, ms: number) => void
  readonly onUp: (up: boolean) => void
  /** Envoy began to listen for redirected connections, or ceased to: `listening` says for which families. */
  readonly onListening: () => void
  readonly onConnected: () => void
}

const families: readonly IpFamily[] = ['IPv4', 'IPv6']

/** Each costs Envoy as much as a frontend that is closing (../lifecycle/drains.ts). Further ones are removed at once. */
const mostUnknown = 100

export class EnvoyLayer implements XdsObserver {
  readonly store = new ResourceStore()
  readonly envoys: Envoys
  readonly redirects: RedirectSet
  readonly #options: EnvoyLayerOptions
  /** By id of the frontend. */
  readonly #lives = new Map<string, Lifecycle>()
  readonly #published: PublishedFrontends
  readonly #publisher: Publisher
  readonly #drains: Drains
  readonly #reconciler: Reconciler
  readonly #nacks: Nacks
  /** The families whose connections of pods reach Envoy. */
  readonly #openPaths = new Set<IpFamily>()
  #isPortEnvoys = true
  #stopped = false

  constructor(options: EnvoyLayerOptions) {
    this.#options = options
    this.envoys = new Envoys(options, {
      changed: () => this.#envoysChanged(),
      admitting: id => (this.#comesDownFor(id) ? options.settleMs : 0),
    })
    this.#published = new PublishedFrontends(options)
    this.#nacks = new Nacks({
      store: this.store,
      ownerOf: ref => this.#published.ownerOf(ref),
      sharedOf: ref => this.#sharedOf(ref),
      remedy: ref => this.#remedy(ref),
      onProblems: options.onProblems,
    })
    this.#publisher = new Publisher({
      ...options,
      published: this.#published,
      store: this.store,
      onRemoved: refs => this.#nacks.removed(refs),
    })
    this.redirects = new RedirectSet(
      {
        settleMs: options.settleMs,
        isReady: (ref, isRedirected) =>
          this.envoys.have(ref) && this.#isReachable(ref) && (isRedirected || this.#isOwn(ref)),
        move: options.redirect,
        clear: options.clearRedirects,
        onMoved: options.onMoved,
      },
      () => this.#lives.values(),
    )
    this.#drains = new Drains({
      drainMs: options.drainMs,
      intervalMs: options.drainIntervalMs,
      quietMs: id => this.#publisher.quietMs(id),
      activity: ids => this.#activity(ids),
      close: life => this.#publisher.republish(life),
      finish: ({ id }) => {
        this.#lives.delete(id)
        this.#publisher.forget(id)
      },
    })
    const onPublished = (frontends: readonly Frontend[]) => {
      if (frontends.some(({ settings }) => settings.lbPolicy === 'PEAK_EWMA')) this.#reportModule()
    }
    this.#reconciler = new Reconciler({ ...options, onPublished }, this.#lives, {
      publisher: this.#publisher,
      redirects: this.redirects,
      drains: this.#drains,
    })
    this.store.update({ put: options.redirectListeners })
  }

  /** All that there is at the start, before any Envoy connects. */
  begin(changes: readonly PortChange[]): void {
    this.#reconciler.begin(changes)
  }

  /** See `Reconciler`. */
  apply(changes: readonly PortChange[], arrived?: number): void {
    this.#reconciler.apply(changes, arrived)
  }

  /** See `Reconciler`. */
  kernelSynced(ports: readonly string[]): void {
    this.#reconciler.kernelSynced(ports)
  }

  /** Whether connections of pods reach Envoy on this node; as long as nobody has said so, nothing is redirected to it. */
  setPath(family: IpFamily, open: boolean): void {
    if (open) this.#openPaths.add(family)
    else this.#openPaths.delete(family)
    for (const life of this.#lives.values()) {
      if (this.frontendOf(life.id)?.family !== family) continue
      if (open) this.redirects.check(life)
      else this.redirects.checkLoss(life)
    }
  }

  /** Listeners change with the mark: Envoy lets those of before go on until their connections end or its drain time is over. */
  setClientAddress(choice: ClientAddressChoice, clientMark: number | undefined): void {
    this.envoys.setClientAddress(choice)
    if (clientMark !== this.#publisher.options.clientMark) this.#setNode({ clientMark })
  }

  /** Envoys without the module would refuse what names it: it is used where all of them have it. */
  #reviewModule(): void {
    const hasModule = this.envoys.haveModule
    const latencies = hasModule ? this.#options.latencyDirectory : undefined
    if (hasModule !== (this.#publisher.options.hasModule ?? false)) this.#setNode({ latencies, hasModule })
    this.#reportModule()
  }

  #setNode(node: NodeOptions): void {
    const isWanted = (id: string) => !this.#lives.get(id)!.isLeaving
    this.#publisher.update(changes => this.#published.setNode(node, isWanted, changes))
  }

  #reportModule(): void {
    const frontends = [...this.#published.entries()].map(([, { frontend }]) => frontend)
    const without = frontends.filter(frontend => lbPolicyOf(frontend, this.#publisher.options).instead === 'module')
    const isKnown = this.envoys.all.length > 0
    this.#options.onProblems(
      'Envoy module',
      isKnown && without.length > 0 ? [moduleProblem(this.#options.nodeName, without)] : [],
    )
  }

  /** While another process listens on Envoy's port nothing is redirected there. */
  get isPortEnvoys(): boolean {
    return this.#isPortEnvoys
  }

  isPathOpen(family: IpFamily): boolean {
    return this.#openPaths.has(family)
  }

  /** Whether new connections to the frontend are to go to Envoy. */
  isRedirected(id: string): boolean {
    return this.#lives.get(id)?.isRedirected ?? false
  }

  /** The families for which Envoy takes redirected connections. */
  get listening(): readonly IpFamily[] {
    if (!this.envoys.isUp) return []
    const acknowledged = this.#options.redirectListeners.filter(resource => this.envoys.have(resource))
    return families.filter(family => acknowledged.some(({ name }) => name.endsWith(family)))
  }

  /** What only Envoys have that take new connections. */
  get redirectListeners(): readonly ResourceRef[] {
    return this.#options.redirectListeners
  }

  /** How many frontends leave Envoy. */
  get draining(): number {
    return [...this.#lives.values()].filter(({ isLeaving }) => isLeaving).length
  }

  /** The id of the frontend whose address this is, as `hostPort` writes it. */
  frontendAt(address: string): string | undefined {
    return this.#published.ownerOf({ typeUrl: typeUrls.cluster, name: address })
  }

  /** As Envoy was told of it last. */
  frontendOf(id: string): Frontend | undefined {
    return this.#publisher.frontendOf(id)
  }

  lbPolicyOf(frontend: Frontend): LbPolicy {
    return lbPolicyOf(frontend, this.#publisher.options).policy
  }

  /** What is not said of the frontend's endpoints stays as it was. */
  observe(id: string, seen: Observed): void {
    const life = this.#lives.get(id)
    if (!life) return
    life.observed = { ...life.observed, ...seen }
    this.#publisher.republish(life)
  }

  view(id: string): EnvoyView | undefined {
    const [life, published] = [this.#lives.get(id), this.#published.get(id)]
    if (!life || !published) return undefined
    const shared = this.#published.sharedListenerOf(published.frontend)
    return viewOf(life, published, shared, this.#publisher.options, {
      store: this.store,
      envoys: this.envoys,
      nacks: this.#nacks,
    })
  }

  stop(): void {
    this.#stopped = true
    this.#reconciler.stop()
    this.envoys.stop()
    this.redirects.stop()
    this.#drains.stop()
    this.#nacks.stop()
    this.#publisher.stop()
  }

  connected(client: ClientInfo): void {
    this.envoys.connected(client)
    this.#reviewModule()
    this.#options.onConnected()
  }

  acknowledged(clientId: number, resources: readonly VersionedRef[]): void {
    for (const ref of resources) {
      const ms = this.#publisher.programmed(ref)
      if (ms !== undefined) this.#options.onProgrammed(this.#published.ownerOf(ref) ?? ref.name, ms)
      this.#nacks.acknowledged(clientId, ref)
    }
    for (const life of this.#livesOf(resources)) this.redirects.check(life)
    if (resources.some(ref => this.#sharedOf(ref))) this.envoys.sharedChanged()
  }

  /** Also of what an Envoy put aside without being told to: endpoints that it refused while their cluster changed. */
  gone(_clientId: number, refs: readonly ResourceRef[]): void {
    for (const life of this.#livesOf(refs)) this.redirects.checkLoss(life)
    if (refs.some(ref => this.#sharedOf(ref))) this.envoys.sharedChanged()
  }

  nacked(clientId: number, nack: Nack): void {
    const { ref } = nack
    this.#options.onNack(this.#published.ownerOf(ref) ?? ref.name)
    this.#publisher.rejected(ref)
    if (!this.#stopped) this.#nacks.add(clientId, nack)
  }

  settled(clientId: number): void {
    this.envoys.settled(clientId)
  }

  active(clientId: number): void {
    this.envoys.active(clientId)
  }

  /** A run of the agent before told Envoy of these: connections to addresses that nobody has now are to end. */
  unknown(_clientId: number, refs: readonly ResourceRef[]): void {
    const addresses = refs.filter(({ typeUrl }) => typeUrl === typeUrls.scope).slice(0, mostUnknown)
    this.#publisher.addFormer(addresses.map(({ name }) => name))
  }

  disconnected(clientId: number): void {
    this.#nacks.disconnected(clientId)
    this.envoys.disconnected(clientId)
    if (!this.#stopped) this.#reviewModule()
  }

  /** Another process began to listen on the port of redirected connections, or ceased to. */
  portChanged(): void {
    this.#envoysChanged()
  }

  /** What goes on at these ports, all frontends of each together; undefined where an Envoy does not answer. */
  async activityOf(ports: readonly string[]): Promise<ReadonlyMap<string, FrontendActivity> | undefined> {
    const all = await this.#options.activity()
    const published = ports.filter(id => this.#published.has(id))
    return all && new Map(published.map(id => [id, activityOfPort(id, this.#published, all)]))
  }

  async #activity(ids: readonly string[]): Promise<ReadonlyMap<string, FrontendActivity> | undefined> {
    const all = await this.#options.activity()
    return all && new Map(ids.map(id => [id, activityOf(id, this.#published, all)]))
  }

  *#livesOf(refs: readonly ResourceRef[]): Iterable<Lifecycle> {
    const ids = new Set(refs.map(ref => this.#published.ownerOf(ref)))
    for (const id of ids) {
      const life = id === undefined ? undefined : this.#lives.get(id)
      if (life) yield life
    }
  }

  /** What all frontends of a family, or all of a port number, need. */
  #sharedOf(ref: ResourceRef): Resource | undefined {
    return this.#redirectOf(ref) ?? this.#published.sharedListenerAt(ref)
  }

  #redirectOf(ref: ResourceRef): Resource | undefined {
    return this.#options.redirectListeners.find(({ typeUrl, name }) => typeUrl === ref.typeUrl && name === ref.name)
  }

  #isReachable(ref: ResourceRef): boolean {
    return !this.#redirectOf(ref) || [...this.#openPaths].some(family => ref.name.endsWith(family))
  }

  /** What has the name of an address may be another frontend's, which had the address then. */
  #isOwn(ref: ResourceRef): boolean {
    const isAnothers = ref.typeUrl === typeUrls.route || ref.typeUrl === typeUrls.cluster
    return !isAnothers || statusOf(ref, this.store, this.envoys) === 'acknowledged'
  }

  #envoysChanged(): void {
    if (this.#stopped) return
    this.#isPortEnvoys = this.#options.isPortEnvoys()
    this.redirects.setAlive(this.envoys.isUp && this.#isPortEnvoys)
    this.#options.onUp(this.envoys.isUp)
    for (const life of this.#lives.values()) this.redirects.check(life)
    this.#options.onListening()
  }

  /** What an Envoy that is to take connections does not have is for the kernel layer. Returns whether there is any. */
  #comesDownFor(clientId: number): boolean {
    const isMissing = (resource: Resource) => this.#options.acknowledgedVersion(clientId, resource) === undefined
    const lost = [...this.#lives.values()].filter(
      ({ id, isRedirected }) => isRedirected && this.#published.get(id)!.resources.some(isMissing),
    )
    for (const life of lost) this.redirects.checkLoss(life)
    return lost.length > 0
  }

  #remedy(ref: ResourceRef): string {
    if (this.#redirectOf(ref)) return 'the kernel layer serves all Services; stop what uses the port, it is tried again'
    const id = this.#published.ownerOf(ref)
    if (id === undefined) return 'the kernel layer serves the http ports of this number; it is tried again'
    return this.isRedirected(id)
      ? 'it keeps its last acknowledged configuration; correct its settings'
      : 'the kernel layer serves it; correct its settings'
  }
}
