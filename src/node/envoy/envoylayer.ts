/**
 * The Envoy layer of a node: takes what its Envoys report, and acts on the frontends that they serve (../lifecycle).
 * Some reports concern all frontends: an Envoy comes or goes, or listens for redirected connections.
 */

import { type Resource, type ResourceRef, type TypeUrl, typeUrls } from '../../envoy/resource.ts'
import { lbPolicyOf } from '../../envoy/resources/cluster/loadbalancing.ts'
import { type Frontend, type Observed, portIdOf } from '../../envoy/resources/frontend.ts'
import type { NodeOptions } from '../../envoy/resources/listener.ts'
import { familyOf, hostPort, type IpFamily } from '../../net/address.ts'
import { anyAddressOf, isUsualNodePort } from '../../plan/ports/externaldestinations.ts'
import type { PortChange } from '../../plan/update.ts'
import type { LbPolicy } from '../../services/settings/settings.ts'
import type { XdsObserver } from '../../xds/session.ts'
import { ResourceStore } from '../../xds/store.ts'
import { activityOf, activityOfPort } from '../lifecycle/activity.ts'
import { Drains, type FrontendActivity } from '../lifecycle/drains.ts'
import type { Lifecycle } from '../lifecycle/lifecycle.ts'
import { PublishedFrontends } from '../lifecycle/published.ts'
import { Publisher } from '../lifecycle/publisher.ts'
import { Reconciler } from '../lifecycle/reconciler.ts'
import { RedirectSet } from '../lifecycle/redirectset.ts'
import type { ClientAddressChoice } from '../probes/clientaddress.ts'
import { Envoys } from './envoys.ts'
import { EnvoyModule, moduleOptions } from './module.ts'
import type { EnvoyLayerOptions } from './options.ts'
import { type EnvoyView, statusOf, viewOf } from './view.ts'
import { Nacks, remedies } from './xds/nacks.ts'
import { XdsReports } from './xds/reports.ts'

const families: readonly IpFamily[] = ['IPv4', 'IPv6']

export class EnvoyLayer {
  readonly store = new ResourceStore()
  readonly envoys: Envoys
  readonly redirects: RedirectSet
  /** Receives what Envoys say of their resources. */
  readonly observer: XdsObserver
  readonly #options: EnvoyLayerOptions
  /** The lifecycles, by id of the frontend. */
  readonly #lives = new Map<string, Lifecycle>()
  readonly #published: PublishedFrontends
  readonly #publisher: Publisher
  readonly #drains: Drains
  readonly #reconciler: Reconciler
  readonly #nacks: Nacks
  readonly #module: EnvoyModule
  /** The families for which pods can reach Envoy. */
  readonly #openPaths = new Set<IpFamily>()
  #isPortEnvoys = true
  #stopped = false

  constructor(options: EnvoyLayerOptions) {
    this.#options = options
    this.envoys = new Envoys(options, {
      changed: () => this.#envoysChanged(),
      admitting: id => (this.#comesDownFor(id) ? options.settleMs : 0),
    })
    const { haveModule: hasModule } = this.envoys
    this.#published = new PublishedFrontends({ ...options, ...moduleOptions(hasModule, options) })
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
    this.#module = new EnvoyModule({
      ...options,
      envoys: this.envoys,
      published: this.#published,
      setNode: node => this.#setNode(node),
    })
    const actuators = { publisher: this.#publisher, redirects: this.redirects, drains: this.#drains }
    const onPublished = (frontends: readonly Frontend[]) => this.#module.published(frontends)
    this.#reconciler = new Reconciler({ ...options, onPublished }, this.#lives, actuators)
    this.observer = new XdsReports({
      ...options,
      ...{ lives: this.#lives, envoys: this.envoys, publisher: this.#publisher, redirects: this.redirects },
      ...{ nacks: this.#nacks, module: this.#module },
      isShared: ref => this.#sharedOf(ref) !== undefined,
    })
    this.store.update({ put: options.redirectListeners })
  }

  /** Takes everything there is at the start, before any Envoy connects. */
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

  /** Sets whether pods can reach Envoy on this node; until it is called, nothing is redirected. */
  setPath(family: IpFamily, open: boolean): void {
    if (open) this.#openPaths.add(family)
    else this.#openPaths.delete(family)
    for (const life of this.#lives.values()) {
      if (this.frontendOf(life.id)?.family !== family) continue
      if (open) this.redirects.check(life)
      else this.redirects.checkLoss(life)
    }
  }

  /**
   * Listeners change with the mark: Envoy keeps the former ones until their connections end or its drain time is over.
   */
  setClientAddress(choice: ClientAddressChoice, clientMark: number | undefined): void {
    this.envoys.setClientAddress(choice)
    if (clientMark !== this.#publisher.options.clientMark) this.#setNode({ clientMark })
  }

  #setNode(node: NodeOptions): void {
    const isWanted = (id: string) => !this.#lives.get(id)!.isDraining
    this.#publisher.update(changes => this.#published.setNode(node, isWanted, changes))
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

  /** The listeners that only Envoys have which take new connections. */
  get boundListeners(): readonly ResourceRef[] {
    return this.#options.boundListeners
  }

  /** How many frontends are draining. */
  get draining(): number {
    return [...this.#lives.values()].filter(({ isDraining }) => isDraining).length
  }

  /** Returns the id of the frontend that has this address, as `hostPort` writes it. */
  frontendAt(address: string): string | undefined {
    return this.#published.ownerOf({ typeUrl: typeUrls.cluster, name: address })
  }

  /** Returns the id of the Service port that clients reach by this address: a VIP, an external address or a node port. */
  portAt(ip: string, port: number): string | undefined {
    const owner = (typeUrl: TypeUrl, at: string) => this.#published.ownerOf({ typeUrl, name: hostPort(at, port) })
    const atAddress = owner(typeUrls.cluster, ip) ?? owner(typeUrls.listener, ip)
    const id = atAddress ?? (isUsualNodePort(port) ? owner(typeUrls.listener, anyAddressOf[familyOf(ip)!]) : undefined)
    return id && portIdOf(id)
  }

  /** The frontend as last published to Envoy. */
  frontendOf(id: string): Frontend | undefined {
    return this.#publisher.frontendOf(id)
  }

  /** All that are published, also those that are draining. */
  frontends(): readonly Frontend[] {
    return Array.from(this.#published.entries(), ([, { frontend }]) => frontend)
  }

  lbPolicyOf(frontend: Frontend): LbPolicy {
    return lbPolicyOf(frontend, this.#publisher.options).policy
  }

  /** Takes observations of the frontend's endpoints; those that are left out stay as they were. */
  observe(id: string, seen: Observed): void {
    const life = this.#lives.get(id)
    if (!life) return
    const { observed } = life
    if (Object.entries(seen).every(([key, value]) => observed?.[key as keyof Observed] === value)) return
    life.observed = { ...observed, ...seen }
    this.#publisher.republish(life)
  }

  view(id: string): EnvoyView | undefined {
    const [life, published] = [this.#lives.get(id), this.#published.get(id)]
    if (!life || !published) return undefined
    const shared = this.#published.sharedOf(published.frontend)
    const { store, envoys } = this
    return viewOf(life, published, shared, this.#publisher.options, { store, envoys, nacks: this.#nacks })
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

  /** Another process began or ceased to listen on the redirect port. */
  portChanged(): void {
    this.#envoysChanged()
  }

  /** Reads the activity at these ports, over all frontends of each; undefined where an Envoy does not answer. */
  async activityOf(ports: readonly string[]): Promise<ReadonlyMap<string, FrontendActivity> | undefined> {
    const all = await this.#options.activity()
    const published = ports.filter(id => this.#published.has(id))
    return all && new Map(published.map(id => [id, activityOfPort(id, this.#published, all)]))
  }

  async #activity(ids: readonly string[]): Promise<ReadonlyMap<string, FrontendActivity> | undefined> {
    const all = await this.#options.activity()
    return all && new Map(ids.map(id => [id, activityOf(id, this.#published, all)]))
  }

  /** Finds the resource that all frontends of a family, or all http ports, need. */
  #sharedOf(ref: ResourceRef): Resource | undefined {
    return this.#redirectOf(ref) ?? this.#published.sharedAt(ref)
  }

  #redirectOf(ref: ResourceRef): Resource | undefined {
    return this.#options.redirectListeners.find(({ typeUrl, name }) => typeUrl === ref.typeUrl && name === ref.name)
  }

  #isReachable(ref: ResourceRef): boolean {
    return !this.#redirectOf(ref) || [...this.#openPaths].some(family => ref.name.endsWith(family))
  }

  /** A resource with the name of an address may be another frontend's that had the address then. */
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

  /** Leaves to the kernel layer what an Envoy lacks that is to take connections. Returns whether there is any. */
  #comesDownFor(clientId: number): boolean {
    const isMissing = (resource: Resource) => this.#options.xds.acknowledgedVersion(clientId, resource) === undefined
    const lost = [...this.#lives.values()].filter(
      ({ id, isRedirected }) => isRedirected && this.#published.get(id)!.resources.some(isMissing),
    )
    for (const life of lost) this.redirects.checkLoss(life)
    return lost.length > 0
  }

  #remedy(ref: ResourceRef): string {
    if (this.#redirectOf(ref)) return remedies.redirectListener
    const id = this.#published.ownerOf(ref)
    if (id !== undefined) return this.isRedirected(id) ? remedies.redirected : remedies.notRedirected
    return ref.typeUrl === typeUrls.filter ? remedies.sharedFilter : remedies.sharedListener
  }
}
