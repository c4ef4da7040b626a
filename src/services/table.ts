/**
 * Everything that a source has told, and what this node makes of it: a state per Service port. A change costs what it
 * touches: only the Services that it concerns are looked at again, and only ports that come out different are reported.
 */

import { readSettings, type ServiceSettings } from './annotations.ts'
import { Claims } from './claims.ts'
import type { Bar, Here, ReservedPorts } from './endpoints.ts'
import type { EndpointSlice } from './endpointslice.ts'
import { claimsOf, type PortOfFamily, portsByFamily } from './families.ts'
import { type HealthCheck, healthChecksOf } from './healthcheck.ts'
import { labels, type OutsideObstacles, type ServiceScope, whyOptedOut, whyOthers, whyUnserved } from './layer.ts'
import { EndpointChoice, type ExplainedEndpoint } from './model/endpoint-choice.ts'
import { EnvoyBudget } from './model/envoy-budget.ts'
import { defaultEnvoyLimits, type EnvoyLimits, EnvoyQuota } from './model/envoy-quota.ts'
import { losersFirst } from './model/losers-first.ts'
import { type Change, describeKey, type KubeObject, type ObjectKey } from './objects.ts'
import { type PodKnowledge, Policies, type Rejudged } from './policies.ts'
import { isForEnvoy, type Layer, type PortState, serviceKeyOf } from './port.ts'
import {
  type Circumstances,
  envoyPlacesOf,
  finderOf,
  kernelLayersOf,
  type PortStates,
  portOf,
  portStatesOf,
} from './portstates.ts'
import type { Problem } from './problem.ts'
import type { Namespace, Node, Service } from './service.ts'

/** A port that came (`before` undefined), went (`after` undefined) or is different. */
export interface PortChange {
  readonly id: string
  readonly before: PortState | undefined
  readonly after: PortState | undefined
}

export interface TableUpdate {
  readonly ports: readonly PortChange[]
  /** The problems of each Service that was looked at, by its description; empty where there are none any more. */
  readonly problems: ReadonlyMap<string, readonly Problem[]>
  /** The health checks of each Service that was looked at and has some, or had, by namespace/name. */
  readonly healthChecks: ReadonlyMap<string, readonly HealthCheck[]>
  /** Services (`namespace/name`) that another proxy takes over from now on: the kernel layer serves them until `release`. */
  readonly handedOver: readonly string[]
  /** Something of `policies` is different. */
  readonly policiesChanged: boolean
}

/** All of a Service: few slices and few ports, which lists hold in a third of the memory that maps take. */
interface Entry {
  /** `namespace/name` */
  readonly key: string
  service: Service | undefined
  settings: ServiceSettings | undefined
  shape: Shape | undefined
  /** Slices may arrive before their Service. */
  slices: readonly EndpointSlice[]
  ports: readonly PortState[]
  /** The Service as which it claims its VIPs, ports and places outside; also those that another Service owns. */
  claims: Service | undefined
  healthChecks: readonly HealthCheck[]
  /** Another proxy takes the Service over: still served, or no longer. Undefined for what is ours, or never was. */
  handover: 'begun' | 'done' | undefined
}

/** What of a Service does not follow from its endpoints: worked out once for all that these do. */
interface Shape {
  readonly wanted: readonly PortOfFamily[]
  /** See `kernelLayersOf`, as are the next two. */
  readonly kernelLayers: readonly (Layer | undefined)[]
  readonly namespace: Namespace | undefined
  readonly takenOver: string | undefined
}

/** What `explain` shows of a Service. */
export interface ServiceView {
  readonly service: Service
  readonly settings: ServiceSettings
  readonly ignored: string | undefined
  readonly optedOut: string | undefined
  readonly ports: readonly PortState[]
  readonly candidates: ReadonlyMap<string, readonly ExplainedEndpoint[]>
  readonly healthChecks: readonly HealthCheck[]
}

const onlyFromSlices: PodKnowledge = { tellsPods: false, podRanges: [] }
const noStates: PortStates = { ports: [], problems: [] }

export interface TableOptions {
  /** Default: all. */
  readonly scope?: ServiceScope
  /** Of this node. Default: none. */
  readonly obstacles?: OutsideObstacles
  /** Of this node. Default: nothing. */
  readonly reserved?: ReservedPorts
  /** Of pods. Default: what slices say of them is all. */
  readonly knowledge?: PodKnowledge
  /** Of Envoy. Default: those of the flags. */
  readonly limits?: EnvoyLimits
  /** Of Envoy on this node. Default: it takes all. */
  readonly budget?: EnvoyBudget
}

const takesAll = { limit: Infinity, followsUse: false }

export class ServiceTable {
  readonly policies: Policies
  readonly #nodeName: string | undefined
  readonly #scope: ServiceScope
  #obstacles: OutsideObstacles
  readonly #reserved: ReservedPorts | undefined
  readonly #entries = new Map<string, Entry>()
  readonly #byNamespace = new Map<string, Set<Entry>>()
  /** See `podNamespaces`. */
  readonly #podNamespaces = new Set<string>()
  readonly #namespaces = new Map<string, Namespace>()
  readonly #claims = new Claims()
  readonly #quota: EnvoyQuota
  readonly #budget: EnvoyBudget
  /** Which Service a slice belongs to, by namespace/slice: a slice may change hands. */
  readonly #sliceOwner = new Map<string, Entry>()
  /** By name of the ServiceCIDR. */
  readonly #serviceCidrs = new Map<string, readonly string[]>()
  #node: Node | undefined

  /** @param nodeName undefined where the choice is made for no node in particular (`translate`) */
  constructor(
    nodeName: string | undefined,
    {
      scope = 'all',
      obstacles = {},
      reserved,
      knowledge = onlyFromSlices,
      limits = defaultEnvoyLimits,
      budget = new EnvoyBudget(takesAll),
    }: TableOptions = {},
  ) {
    this.policies = new Policies(nodeName, knowledge)
    this.#nodeName = nodeName
    this.#scope = scope
    this.#obstacles = obstacles
    this.#reserved = reserved
    this.#quota = new EnvoyQuota(limits)
    this.#budget = budget
  }

  apply(changes: readonly Change[]): TableUpdate {
    const dirty = new Set<string>()
    for (const change of changes) {
      if (change.type === 'put') this.#put(change.object, dirty)
      else this.#remove(change.key, dirty)
    }
    const { touched, rejudged } = this.policies.apply(changes)
    this.#rejudge(rejudged, dirty)
    return this.#refreshAll(dirty, touched)
  }

  /**
   * The namespaces of whose pods it has to be known who they are: those with Services for Envoy. One stays while it exists,
   * since connections that a Service had in Envoy end later than its wish.
   */
  get podNamespaces(): ReadonlySet<string> {
    return this.#podNamespaces
  }

  #rejudge(rejudged: Rejudged, dirty: Set<string>): void {
    const namespaces = rejudged === 'all' ? this.#podNamespaces : rejudged.keys()
    for (const namespace of namespaces) {
      if (!this.#podNamespaces.has(namespace)) continue
      const addresses = rejudged === 'all' ? 'all' : rejudged.get(namespace)!
      for (const { key, slices } of this.#byNamespace.get(namespace) ?? []) {
        if (addresses === 'all' || slices.some(slice => slice.endpoints.some(({ ip }) => addresses.has(ip))))
          dirty.add(key)
      }
    }
  }

  /** The other proxy has had its time to take a Service over. No change where it is ours again meanwhile, or gone. */
  release(key: string): TableUpdate {
    const entry = this.#entries.get(key)
    if (entry?.handover !== 'begun') return this.#refreshAll(new Set())
    entry.handover = 'done'
    return this.#refreshAll(new Set([key]))
  }

  setObstacles(obstacles: OutsideObstacles): TableUpdate {
    this.#obstacles = obstacles
    return this.#refreshAll(new Set(this.#entries.keys()))
  }

  /** Ports that came to Envoy or left it by the budget, by id. */
  budgeted(ids: readonly string[]): TableUpdate {
    return this.#refreshAll(new Set(ids.map(serviceKeyOf)))
  }

  #refreshAll(dirty: Set<string>, policiesChanged = false): TableUpdate {
    const handedOver: string[] = []
    const ports = new Map<string, PortChange>()
    const problems = new Map<string, readonly Problem[]>()
    const healthChecks = new Map<string, readonly HealthCheck[]>()
    // Who gets an address makes the Service that had it dirty, and who gives it up the next one, also where that was looked at before.
    for (const key of dirty) {
      dirty.delete(key)
      const before = this.#entries.get(key)?.handover
      this.#refresh(key, { ports, problems, healthChecks }, dirty)
      if (before === undefined && this.#entries.get(key)?.handover === 'begun') handedOver.push(key)
    }
    const changed = [...ports.values()].filter(({ before, after }) => before !== after)
    return { ports: losersFirst(changed), problems, healthChecks, handedOver, policiesChanged }
  }

  get(id: string): PortState | undefined {
    return portOf(this.#entries.get(serviceKeyOf(id))?.ports, id)
  }

  /** What cluster IPs are given out of, canonical; empty where the source does not say. */
  get serviceRanges(): readonly string[] {
    return [...this.#serviceCidrs.values()].flat()
  }

  /** This node's own, where the source has told it. */
  get node(): Node | undefined {
    return this.#node
  }

  *states(): Iterable<PortState> {
    for (const { ports } of this.#entries.values()) yield* ports
  }

  counts(): { readonly services: number; readonly endpointSlices: number; readonly ports: number } {
    let [services, ports] = [0, 0]
    for (const entry of this.#entries.values()) {
      if (entry.service) services++
      ports += entry.ports.length
    }
    return { services, endpointSlices: this.#sliceOwner.size, ports }
  }

  service(namespace: string, name: string): Service | undefined {
    return this.#entries.get(`${namespace}/${name}`)?.service
  }

  view(namespace: string, name: string): ServiceView | undefined {
    const entry = this.#entries.get(`${namespace}/${name}`)
    if (!entry?.service) return undefined
    const { service, slices, ports, healthChecks } = entry
    const settings = entry.settings ?? readSettings(service)
    const choice = new EndpointChoice(service, slices, this.#here(), this.#barOf(service))
    const candidates = new Map(ports.map(({ id, port, family }) => [id, choice.explain(port, family)]))
    const others = entry.handover === 'begun' ? undefined : whyOthers(service, this.#scope)
    const ignored = others ?? whyUnserved(service)
    const optedOut = whyOptedOut(service, this.#namespaces.get(namespace))
    return { service, settings, ignored, optedOut, ports, candidates, healthChecks }
  }

  /** Names of all Services, `namespace/name`, for suggestions. */
  names(): readonly string[] {
    return [...this.#entries].filter(([, { service }]) => service).map(([key]) => key)
  }

  /** With the scope `labelled`: Services without any label that names their proxy, and their namespace. */
  *unlabelled(): Iterable<{ readonly service: Service; readonly namespace: Namespace | undefined }> {
    if (this.#scope === 'all') return
    for (const { service } of this.#entries.values()) {
      if (service === undefined || service.labels[labels.proxyName] !== undefined) continue
      yield { service, namespace: this.#namespaces.get(service.namespace) }
    }
  }

  #here(): Here {
    return {
      nodeName: this.#nodeName,
      zone: this.#node?.labels['topology.kubernetes.io/zone'],
      reserved: this.#reserved,
    }
  }

  #put(object: KubeObject, dirty: Set<string>): void {
    switch (object.kind) {
      case 'Service': {
        const key = `${object.namespace}/${object.name}`
        const entry = this.#entry(key)
        entry.service = object
        entry.settings = undefined
        entry.shape = undefined
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
        entry.settings = undefined
        entry.shape = undefined
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
    const zone = this.#here().zone
    this.#node = node
    if (this.#here().zone !== zone) for (const key of this.#entries.keys()) dirty.add(key)
  }

  #setNamespace(name: string, namespace: Namespace | undefined, dirty: Set<string>): void {
    const optOut = this.#namespaces.get(name)?.labels[labels.namespaceOptOut]
    if (namespace) this.#namespaces.set(name, namespace)
    else if (this.#namespaces.delete(name)) this.#podNamespaces.delete(name)
    if (namespace?.labels[labels.namespaceOptOut] === optOut) return
    for (const key of this.#entries.keys()) if (key.startsWith(`${name}/`)) dirty.add(key)
  }

  #entry(key: string): Entry {
    let entry = this.#entries.get(key)
    if (!entry) {
      entry = {
        key,
        service: undefined,
        settings: undefined,
        shape: undefined,
        slices: [],
        ports: [],
        claims: undefined,
        healthChecks: [],
        handover: undefined,
      }
      this.#entries.set(key, entry)
      const namespace = namespaceOf(key)
      const others = this.#byNamespace.get(namespace)
      if (others) others.add(entry)
      else this.#byNamespace.set(namespace, new Set([entry]))
    }
    return entry
  }

  #refresh(key: string, { ports: changes, problems, healthChecks }: Refreshed, dirty: Set<string>): void {
    const entry = this.#entries.get(key)
    if (!entry) return
    const service = this.#served(entry)
    const shape = service && this.#shapeOf(entry, service)
    const wanted = shape?.wanted ?? []
    this.#reclaim(entry, service, wanted, dirty)

    const before = entry.ports
    const circumstances = shape && this.#circumstances(entry, service, shape)
    const places = circumstances ? envoyPlacesOf(service, wanted, circumstances) : 0
    for (const other of this.#quota.set(key, places, service?.created ?? 0)) if (other !== key) dirty.add(other)
    const envoyPlaces = this.#quota.shareOf(key)
    const states = circumstances ? portStatesOf(service, wanted, { ...circumstances, envoyPlaces }) : noStates
    entry.ports = states.ports
    for (const change of changesBetween(before, entry.ports)) {
      if (!change.after || !isForEnvoy(change.after.layer)) this.#budget.remove(change.id)
      const first = changes.get(change.id)
      changes.set(change.id, first ? { ...change, before: first.before } : change)
    }
    // A port that both listen on is the other proxy's at once: kube-proxy does not try again soon.
    const isOurs = service && entry.handover === undefined
    const checks = isOurs ? healthChecksOf(service, entry.slices, this.#nodeName) : []
    if (checks.length > 0 || entry.healthChecks.length > 0) healthChecks.set(key, checks)
    entry.healthChecks = checks
    const [namespace, name] = key.split('/') as [string, string]
    problems.set(describeKey({ kind: 'Service', namespace, name }), states.problems)
    if (!entry.service && entry.slices.length === 0) this.#forget(entry)
  }

  #forget(entry: Entry): void {
    const namespace = namespaceOf(entry.key)
    const others = this.#byNamespace.get(namespace)
    this.#entries.delete(entry.key)
    others?.delete(entry)
    if (others?.size === 0) this.#byNamespace.delete(namespace)
  }

  #barOf({ namespace }: Service): Bar | undefined {
    if (!this.#podNamespaces.has(namespace)) return undefined
    return ({ ip, isPod }) => this.policies.whyBarred(namespace, ip, isPod)
  }

  /**
   * What another proxy takes over is served until `release`, since that proxy may hear of it later than we do. Its shape
   * may not have changed beside: a VIP that is gone is nobody's.
   */
  #served(entry: Entry): Service | undefined {
    const { service, ports } = entry
    const others = service && whyOthers(service, this.#scope)
    if (!service || others === undefined || whyUnserved(service) !== undefined) entry.handover = undefined
    else entry.handover ??= ports.length > 0 ? 'begun' : undefined
    if (!service || whyUnserved(service) !== undefined) return undefined
    return others === undefined || entry.handover === 'begun' ? service : undefined
  }

  /** Gives up the claims that the Service no longer makes, and makes the new ones. */
  #reclaim(entry: Entry, service: Service | undefined, wanted: readonly PortOfFamily[], dirty: Set<string>): void {
    if (entry.claims === service) return
    const before = entry.claims ? portsByFamily(entry.claims).flatMap(claimsOf) : []
    const created = { before: entry.claims?.created ?? 0, after: service?.created ?? 0 }
    const affected = this.#claims.replace(before, wanted.flatMap(claimsOf), created.before, created.after)
    for (const id of affected) if (serviceKeyOf(id) !== entry.key) dirty.add(serviceKeyOf(id))
    entry.claims = service
  }

  #shapeOf(entry: Entry, service: Service): Shape {
    const namespace = this.#namespaces.get(service.namespace)
    const takenOver = entry.handover === 'begun' ? whyOthers(service, this.#scope) : undefined
    const known = entry.shape
    if (known && known.namespace === namespace && known.takenOver === takenOver) return known
    entry.settings ??= readSettings(service)
    const wanted = known?.wanted ?? portsByFamily(service)
    const kernelLayers = kernelLayersOf(service, wanted, entry.settings, namespace, takenOver)
    entry.shape = { wanted, kernelLayers, namespace, takenOver }
    return entry.shape
  }

  #circumstances(
    entry: Entry,
    service: Service,
    { kernelLayers, namespace }: Shape,
  ): Omit<Circumstances, 'envoyPlaces'> {
    entry.settings ??= readSettings(service)
    return {
      settings: entry.settings,
      slices: entry.slices,
      here: this.#here(),
      namespace,
      obstacles: this.#obstacles,
      claims: this.#claims,
      barFor: isForEnvoy => {
        if (isForEnvoy) this.#podNamespaces.add(service.namespace)
        return this.#barOf(service)
      },
      kernelLayers,
      whyWaiting: (id, isAlways) => (this.#budget.has(id, isAlways) ? undefined : this.#budget.whyWaiting),
      before: entry.ports,
    }
  }
}

/** Those that are different. */
function changesBetween(before: readonly PortState[], after: readonly PortState[]): readonly PortChange[] {
  const [find, findAfter] = [finderOf(before), finderOf(after)]
  const gone = before.filter(({ id }, index) => !findAfter(id, index))
  return [
    ...gone.map(state => ({ id: state.id, before: state, after: undefined })),
    ...after.map((state, index) => ({ id: state.id, before: find(state.id, index), after: state })),
  ].filter(change => change.before !== change.after)
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

/** What `apply` gathers, Service by Service. */
interface Refreshed {
  readonly ports: Map<string, PortChange>
  readonly problems: Map<string, readonly Problem[]>
  readonly healthChecks: Map<string, readonly HealthCheck[]>
}
