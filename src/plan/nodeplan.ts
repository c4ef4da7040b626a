/**
 * What this node makes of all that a source has told (services/serviceindex.ts): a state per Service port. A change costs what it touches:
 * only the Services that it concerns are looked at again, and only ports that come out different are reported.
 */

import { labels } from '../services/labels.ts'
import { type Change, describeKey } from '../services/objects/objects.ts'
import type { Namespace, Node, Service } from '../services/objects/service.ts'
import { type PodKnowledge, Policies, type Rejudged } from '../services/podindex.ts'
import type { Problem } from '../services/problem.ts'
import { Facts, type ServiceFacts } from '../services/serviceindex.ts'
import { readSettings, type ServiceSettings } from '../services/settings/annotations.ts'
import { EndpointChoice, type ExplainedEndpoint } from './endpoints/choice.ts'
import { type HealthCheck, healthChecksOf } from './endpoints/healthcheck.ts'
import type { Bar, Here, ReservedPorts } from './endpoints/rules.ts'
import { EnvoyBudget } from './envoy/budget.ts'
import { defaultEnvoyLimits, type EnvoyLimits, EnvoyQuota } from './envoy/quota.ts'
import { Claims } from './ports/claims.ts'
import { claimsOf, portsByFamily } from './ports/families.ts'
import type { OutsideObstacles } from './ports/layer.ts'
import { losersFirst } from './ports/losers-first.ts'
import { isForEnvoy, type PortState, serviceKeyOf } from './ports/port.ts'
import {
  type Circumstances,
  envoyPlacesOf,
  finderOf,
  type PortStates,
  portOf,
  portStatesOf,
} from './ports/portstates.ts'
import { type ServiceScope, whyOptedOut, whyOthers, whyUnserved } from './ports/scope.ts'
import { type Shape, shapeOf } from './ports/shape.ts'

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

/** What follows for a Service. */
interface Derived {
  ports: readonly PortState[]
  /** Undefined where it is not served. */
  shape: Shape | undefined
  /** The Service as which it claims its VIPs, ports and places outside; also those that another Service owns. */
  claims: Service | undefined
  healthChecks: readonly HealthCheck[]
  /** Another proxy takes the Service over: still served, or no longer. Undefined for what is ours, or never was. */
  handover: 'begun' | 'done' | undefined
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
  readonly #facts: Facts
  readonly #derived = new Map<string, Derived>()
  /** See `podNamespaces`. */
  readonly #podNamespaces = new Set<string>()
  readonly #claims = new Claims()
  readonly #quota: EnvoyQuota
  readonly #budget: EnvoyBudget

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
    this.#facts = new Facts(nodeName)
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
      this.#facts.apply(change, dirty)
      if (change.type === 'remove' && change.key.kind === 'Namespace') this.#podNamespaces.delete(change.key.name)
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
      for (const { key, slices } of this.#facts.inNamespace(namespace)) {
        if (addresses === 'all' || slices.some(slice => slice.endpoints.some(({ ip }) => addresses.has(ip))))
          dirty.add(key)
      }
    }
  }

  /** The other proxy has had its time to take a Service over. No change where it is ours again meanwhile, or gone. */
  release(key: string): TableUpdate {
    const derived = this.#derived.get(key)
    if (derived?.handover !== 'begun') return this.#refreshAll(new Set())
    derived.handover = 'done'
    return this.#refreshAll(new Set([key]))
  }

  setObstacles(obstacles: OutsideObstacles): TableUpdate {
    this.#obstacles = obstacles
    return this.#refreshAll(new Set(this.#facts.keys()))
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
      const before = this.#derived.get(key)?.handover
      this.#refresh(key, { ports, problems, healthChecks }, dirty)
      if (before === undefined && this.#derived.get(key)?.handover === 'begun') handedOver.push(key)
    }
    const changed = [...ports.values()].filter(({ before, after }) => before !== after)
    return { ports: losersFirst(changed), problems, healthChecks, handedOver, policiesChanged }
  }

  get(id: string): PortState | undefined {
    return portOf(this.#derived.get(serviceKeyOf(id))?.ports, id)
  }

  /** What cluster IPs are given out of, canonical; empty where the source does not say. */
  get serviceRanges(): readonly string[] {
    return this.#facts.serviceRanges
  }

  /** This node's own, where the source has told it. */
  get node(): Node | undefined {
    return this.#facts.node
  }

  *states(): Iterable<PortState> {
    for (const { ports } of this.#derived.values()) yield* ports
  }

  counts(): { readonly services: number; readonly endpointSlices: number; readonly ports: number } {
    const services = [...this.#facts.services()].length
    const ports = [...this.#derived.values()].reduce((sum, { ports }) => sum + ports.length, 0)
    return { services, endpointSlices: this.#facts.endpointSlices, ports }
  }

  service(namespace: string, name: string): Service | undefined {
    return this.#facts.get(`${namespace}/${name}`)?.service
  }

  view(namespace: string, name: string): ServiceView | undefined {
    const key = `${namespace}/${name}`
    const { service, slices = [] } = this.#facts.get(key) ?? {}
    if (!service) return undefined
    const { ports = [], healthChecks = [], handover, shape } = this.#derived.get(key) ?? {}
    const settings = shape?.service === service ? shape.settings : readSettings(service)
    const choice = new EndpointChoice(service, slices, this.#here(), this.#barOf(service))
    const candidates = new Map(ports.map(({ id, port, family }) => [id, choice.explain(port, family)]))
    const others = handover === 'begun' ? undefined : whyOthers(service, this.#scope)
    const ignored = others ?? whyUnserved(service)
    const optedOut = whyOptedOut(service, this.#facts.namespace(namespace))
    return { service, settings, ignored, optedOut, ports, candidates, healthChecks }
  }

  /** Names of all Services, `namespace/name`, for suggestions. */
  names(): readonly string[] {
    return [...this.#facts.services()].map(({ namespace, name }) => `${namespace}/${name}`)
  }

  /** With the scope `labelled`: Services without any label that names their proxy, and their namespace. */
  *unlabelled(): Iterable<{ readonly service: Service; readonly namespace: Namespace | undefined }> {
    if (this.#scope === 'all') return
    for (const service of this.#facts.services()) {
      if (service.labels[labels.proxyName] !== undefined) continue
      yield { service, namespace: this.#facts.namespace(service.namespace) }
    }
  }

  #here(): Here {
    return { nodeName: this.#nodeName, zone: this.#facts.zone, reserved: this.#reserved }
  }

  #refresh(key: string, { ports: changes, problems, healthChecks }: Refreshed, dirty: Set<string>): void {
    const facts = this.#facts.get(key)
    if (!facts) return
    const derived = this.#derivedOf(key)
    const service = this.#served(facts.service, derived)
    derived.shape = service && this.#shapeOf(service, derived)
    this.#reclaim(key, derived, dirty)

    const { ports: before, shape } = derived
    const circumstances = shape && this.#circumstances(shape, facts, derived)
    const places = circumstances ? envoyPlacesOf(shape.service, shape.wanted, circumstances) : 0
    for (const other of this.#quota.set(key, places, service?.created ?? 0)) if (other !== key) dirty.add(other)
    const envoyPlaces = this.#quota.shareOf(key)
    const states = circumstances
      ? portStatesOf(shape.service, shape.wanted, { ...circumstances, envoyPlaces })
      : noStates
    derived.ports = states.ports
    for (const change of changesBetween(before, states.ports)) {
      if (!change.after || !isForEnvoy(change.after.layer)) this.#budget.remove(change.id)
      const first = changes.get(change.id)
      changes.set(change.id, first ? { ...change, before: first.before } : change)
    }
    // A port that both listen on is the other proxy's at once: kube-proxy does not try again soon.
    const isOurs = service && derived.handover === undefined
    const checks = isOurs ? healthChecksOf(service, facts.slices, this.#nodeName) : []
    if (checks.length > 0 || derived.healthChecks.length > 0) healthChecks.set(key, checks)
    derived.healthChecks = checks
    const [namespace, name] = key.split('/') as [string, string]
    problems.set(describeKey({ kind: 'Service', namespace, name }), states.problems)
    if (this.#facts.forgetIfGone(key)) this.#derived.delete(key)
  }

  #derivedOf(key: string): Derived {
    let derived = this.#derived.get(key)
    if (!derived) {
      derived = { ports: [], shape: undefined, claims: undefined, healthChecks: [], handover: undefined }
      this.#derived.set(key, derived)
    }
    return derived
  }

  #barOf({ namespace }: Service): Bar | undefined {
    if (!this.#podNamespaces.has(namespace)) return undefined
    return ({ ip, isPod }) => this.policies.whyBarred(namespace, ip, isPod)
  }

  /**
   * What another proxy takes over is served until `release`, since that proxy may hear of it later than we do. Its shape
   * may not have changed beside: a VIP that is gone is nobody's.
   */
  #served(service: Service | undefined, derived: Derived): Service | undefined {
    const others = service && whyOthers(service, this.#scope)
    if (!service || others === undefined || whyUnserved(service) !== undefined) derived.handover = undefined
    else derived.handover ??= derived.ports.length > 0 ? 'begun' : undefined
    if (!service || whyUnserved(service) !== undefined) return undefined
    return others === undefined || derived.handover === 'begun' ? service : undefined
  }

  /** Gives up the claims that the Service no longer makes, and makes the new ones. */
  #reclaim(key: string, derived: Derived, dirty: Set<string>): void {
    const { claims, shape } = derived
    if (claims === shape?.service) return
    const before = claims ? portsByFamily(claims).flatMap(claimsOf) : []
    const after = shape?.wanted.flatMap(claimsOf) ?? []
    const affected = this.#claims.replace(before, after, claims?.created ?? 0, shape?.service.created ?? 0)
    for (const id of affected) if (serviceKeyOf(id) !== key) dirty.add(serviceKeyOf(id))
    derived.claims = shape?.service
  }

  #shapeOf(service: Service, { handover, shape }: Derived): Shape {
    const takenOver = handover === 'begun' ? whyOthers(service, this.#scope) : undefined
    return shapeOf(service, this.#facts.namespace(service.namespace), takenOver, shape)
  }

  #circumstances(
    { service, settings, kernelLayers, namespace }: Shape,
    { slices }: ServiceFacts,
    { ports }: Derived,
  ): Omit<Circumstances, 'envoyPlaces'> {
    return {
      settings,
      slices,
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
      before: ports,
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

/** What `apply` gathers, Service by Service. */
interface Refreshed {
  readonly ports: Map<string, PortChange>
  readonly problems: Map<string, readonly Problem[]>
  readonly healthChecks: Map<string, readonly HealthCheck[]>
}
