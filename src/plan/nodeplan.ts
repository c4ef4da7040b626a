/**
 * The plan of one node: a state per Service port. It depends on the cluster's facts, on the node, and on nothing else,
 * so that plans of many nodes may follow the same facts. A change costs what it touches: only the Services that it
 * concerns are derived again, and only ports that come out different are reported.
 */

import type { Exclusions } from '../exclusions/exclusion.ts'
import type { ClusterFacts, FactsUpdate } from '../services/clusterfacts.ts'
import { labels } from '../services/labels.ts'
import type { Namespace, Node, Service } from '../services/objects/service.ts'
import type { Rejudged } from '../services/podchanges.ts'
import type { ServiceFacts } from '../services/serviceindex.ts'
import { readSettings } from '../services/settings/annotations.ts'
import { type Derived, newDerived, type Shape, shapeOf } from './derived.ts'
import { rememberedOf } from './endpoints/candidates.ts'
import { EndpointChoice } from './endpoints/choice.ts'
import { concernedBy, type Excluded, nothingExcluded, slicesUnlessExcluded } from './endpoints/excluded.ts'
import { healthChecksOf } from './endpoints/healthcheck.ts'
import type { Bar, NodeTopology } from './endpoints/rules.ts'
import { EnvoyQuota } from './envoy/quota.ts'
import type { ServiceView } from './explain.ts'
import { type NodeFacts, whyWaiting, withDefaults } from './nodefacts.ts'
import { NodePolicies } from './policies.ts'
import { Claims } from './ports/claims.ts'
import { claimsOf, portsByFamily } from './ports/families.ts'
import { type ExternalObstacles, isReachedFromOutside } from './ports/layer.ts'
import { isForEnvoy, type PortState, serviceKeyOf } from './ports/port.ts'
import { envoyAddressesOf, type PortInputs, type PortStates, portOf, portStatesOf } from './ports/portstates.ts'
import { handoverOf, whyOptedOut, whyOthers, whyUnserved } from './ports/scope.ts'
import { PlanChanges, type PlanUpdate } from './update.ts'

const noStates: PortStates = { ports: [], problems: [] }
const gone: Pick<ServiceFacts, 'service' | 'slices'> = { service: undefined, slices: [] }

export class NodePlan {
  readonly policies: NodePolicies
  readonly #facts: ClusterFacts
  readonly #options: ReturnType<typeof withDefaults>
  readonly #quota: EnvoyQuota
  readonly #derived = new Map<string, Derived>()
  readonly #claims = new Claims()
  /** See `podNamespaces`. */
  readonly #podNamespaces = new Set<string>()
  /** By what the ports are. */
  readonly #unlessExcluded = new WeakMap<readonly PortState[], readonly PortState[]>()
  #topology: NodeTopology
  #obstacles: ExternalObstacles
  #excluded: Excluded

  /** @param facts still empty; later changes come by `apply` */
  constructor(facts: ClusterFacts, nodeFacts: NodeFacts) {
    const node = withDefaults(nodeFacts)
    this.policies = new NodePolicies(facts.pods, node.name)
    this.#facts = facts
    this.#options = node
    this.#quota = new EnvoyQuota(node.limits)
    this.#topology = { nodeName: node.name, zone: undefined, reserved: node.reserved }
    this.#obstacles = node.obstacles
    this.#excluded = { ...nothingExcluded, share: node.maxExcluded }
  }

  /** Derives what the facts' update concerns. */
  apply({ services, goneNamespaces, nodes, pods }: FactsUpdate): PlanUpdate {
    const dirty = new Set(services)
    this.#rejudge(pods.rejudged, dirty)
    for (const namespace of goneNamespaces) this.#forgetNamespace(namespace, dirty)
    const { nodeName } = this.#topology
    if (nodeName !== undefined && nodes.has(nodeName)) this.#locate(dirty)
    return this.#refreshAll(dirty, this.policies.apply(pods))
  }

  /** Ends the time in which the other proxy takes a Service over. Changes nothing where it is ours again, or gone. */
  release(key: string): PlanUpdate {
    const derived = this.#derived.get(key)
    if (derived?.handover !== 'begun') return this.#refreshAll([])
    derived.handover = 'done'
    return this.#refreshAll([key])
  }

  setObstacles(obstacles: ExternalObstacles): PlanUpdate {
    this.#obstacles = obstacles
    const concerned = [...this.#facts.services.entries()].filter(
      ({ service }) => service && isReachedFromOutside(service),
    )
    return this.#refreshAll(concerned.map(({ key }) => key))
  }

  /** Sets what others have found dead, in place of what they had. */
  setExclusions(exclusions: Exclusions): PlanUpdate {
    const before = this.#excluded.exclusions
    this.#excluded = { ...this.#excluded, exclusions }
    return this.#refreshAll(concernedBy(this.#facts.services, before, exclusions))
  }

  /** Derives ports again, by id, that the budget promoted or demoted, or that are held back, or misnamed, or no longer. */
  budgeted(ids: readonly string[]): PlanUpdate {
    return this.#refreshAll(ids.map(serviceKeyOf))
  }

  get(id: string): PortState | undefined {
    return portOf(this.#derived.get(serviceKeyOf(id))?.ports, id)
  }

  *states(): Iterable<PortState> {
    for (const { ports } of this.#derived.values()) yield* ports
  }

  /** The ports with an endpoint at this address, as they would be were nothing excluded. */
  *statesUnlessExcluded(ip: string): Generator<PortState> {
    for (const facts of this.#facts.services.withAddress(ip)) {
      const derived = this.#derived.get(facts.key)
      if (derived) yield* this.#portsUnlessExcluded(facts, derived)
    }
  }

  /** The node's own, where the source has reported it. */
  get node(): Node | undefined {
    const { nodeName } = this.#topology
    return nodeName === undefined ? undefined : this.#facts.nodes.get(nodeName)
  }

  /**
   * The namespaces of which the plan has to know the pods: those with Services for Envoy. One stays while it exists,
   * since connections that a Service had in Envoy end later than its wish.
   */
  get podNamespaces(): ReadonlySet<string> {
    return this.#podNamespaces
  }

  counts(): { readonly services: number; readonly endpointSlices: number; readonly ports: number } {
    const ports = [...this.#derived.values()].reduce((sum, { ports }) => sum + ports.length, 0)
    return { ...this.#facts.services.counts(), ports }
  }

  view(namespace: string, name: string): ServiceView | undefined {
    const key = `${namespace}/${name}`
    const { service, slices } = this.#facts.services.get(key) ?? gone
    if (!service) return undefined
    const { ports = [], healthChecks = [], handover, shape } = this.#derived.get(key) ?? {}
    const settings = shape?.service === service ? shape.settings : readSettings(service)
    const choice = new EndpointChoice(service, slices, this.#topology, this.#barOf(service), this.#excluded)
    const candidates = new Map(ports.map(({ id, port, family }) => [id, choice.explain(port, family)]))
    const others = handover === 'begun' ? undefined : whyOthers(service, this.#options.scope)
    const ignored = others ?? whyUnserved(service)
    const optedOut = whyOptedOut(service, this.#facts.services.namespace(namespace))
    return { service, settings, ignored, optedOut, ports, candidates, healthChecks }
  }

  /** Lists, with the scope `labelled`, Services without any label that names their proxy, and their namespace. */
  *unlabelled(): Iterable<{ readonly service: Service; readonly namespace: Namespace | undefined }> {
    if (this.#options.scope === 'all') return
    for (const service of this.#facts.services.all()) {
      if (service.labels[labels.proxyName] !== undefined) continue
      yield { service, namespace: this.#facts.services.namespace(service.namespace) }
    }
  }

  /**
   * Drops the namespace. Services may outlive their Namespace where the order of changes has it so: they say again what
   * they need.
   */
  #forgetNamespace(namespace: string, dirty: Set<string>): void {
    if (!this.#podNamespaces.delete(namespace)) return
    for (const { key } of this.#facts.services.inNamespace(namespace)) dirty.add(key)
  }

  #locate(dirty: Set<string>): void {
    const zone = this.node?.labels['topology.kubernetes.io/zone']
    if (zone === this.#topology.zone) return
    this.#topology = { ...this.#topology, zone }
    for (const key of this.#derived.keys()) dirty.add(key)
  }

  #rejudge(rejudged: Rejudged, dirty: Set<string>): void {
    const namespaces = rejudged === 'all' ? this.#podNamespaces : rejudged.keys()
    for (const namespace of namespaces) {
      if (!this.#podNamespaces.has(namespace)) continue
      const addresses = rejudged === 'all' ? 'all' : rejudged.get(namespace)!
      for (const { key, slices } of this.#facts.services.inNamespace(namespace)) {
        if (addresses !== 'all' && !slices.some(slice => slice.endpoints.some(({ ip }) => addresses.has(ip)))) continue
        dirty.add(key)
        this.#derived.get(key)?.candidates?.rejudge(addresses)
      }
    }
  }

  #portsUnlessExcluded(facts: ServiceFacts, derived: Derived): readonly PortState[] {
    const { ports, shape } = derived
    if (!shape || this.#excluded.exclusions.isEmpty) return ports
    const known = this.#unlessExcluded.get(ports)
    if (known) return known
    const envoyAddresses = this.#quota.shareOf(facts.key)
    const slices = slicesUnlessExcluded(facts.slices, this.#excluded.exclusions)
    const inputs = { ...this.#inputs(shape, { slices }, derived), excluded: nothingExcluded, envoyAddresses }
    const states = portStatesOf(shape.service, shape.wanted, inputs).ports
    this.#unlessExcluded.set(ports, states)
    return states
  }

  #refreshAll(keys: Iterable<string>, policiesChanged = false): PlanUpdate {
    const changes = new PlanChanges()
    const dirty = new Set(keys)
    // A Service that gets an address makes its former owner dirty, and one that releases it the next owner, also where
    // that was derived before.
    for (const key of dirty) {
      dirty.delete(key)
      this.#refresh(key, changes, dirty)
    }
    return changes.update(policiesChanged)
  }

  #refresh(key: string, changes: PlanChanges, dirty: Set<string>): void {
    const facts = this.#facts.services.get(key) ?? gone
    const derived = this.#derived.get(key) ?? newDerived()
    const service = this.#served(key, facts.service, derived, changes)
    derived.shape = service && this.#shapeOf(service, derived)
    this.#reclaim(key, derived, dirty)

    const { ports: before, shape } = derived
    derived.candidates = shape && rememberedOf(facts.slices, this.#options.manyEndpoints, derived.candidates)
    const inputs = shape && this.#inputs(shape, facts, derived)
    const wanted = inputs ? envoyAddressesOf(shape.service, shape.wanted, inputs) : 0
    for (const other of this.#quota.set(key, wanted, service?.created ?? 0)) if (other !== key) dirty.add(other)
    const envoyAddresses = this.#quota.shareOf(key)
    const states = inputs ? portStatesOf(shape.service, shape.wanted, { ...inputs, envoyAddresses }) : noStates
    derived.ports = states.ports
    for (const { id, after } of changes.setPorts(before, states.ports)) {
      if (!after || !isForEnvoy(after.layer)) this.#options.budget.remove(id)
    }
    changes.setProblems(key, states.problems)
    // The other proxy gets a port that both listen on at once: kube-proxy does not try again soon.
    const isOurs = service && derived.handover === undefined
    const checks = isOurs ? healthChecksOf(service, facts.slices, this.#topology.nodeName) : []
    changes.setHealthChecks(key, derived.healthChecks, checks)
    derived.healthChecks = checks
    if (facts.service) this.#derived.set(key, derived)
    else this.#derived.delete(key)
  }

  /** Returns what of a Service is served: itself, unless it is another proxy's or there is nothing to serve. */
  #served(key: string, service: Service | undefined, derived: Derived, changes: PlanChanges): Service | undefined {
    const { handover: before, ports } = derived
    derived.handover = handoverOf(service, this.#options.scope, { handover: before, isServed: ports.length > 0 })
    const isHandedOver = derived.handover === 'begun'
    if (isHandedOver && before === undefined) changes.handOver(key)
    if (!service || whyUnserved(service) !== undefined) return undefined
    return isHandedOver || whyOthers(service, this.#options.scope) === undefined ? service : undefined
  }

  /** Releases the claims that the Service no longer makes, and makes the new ones. */
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
    const takenOver = handover === 'begun' ? whyOthers(service, this.#options.scope) : undefined
    return shapeOf(service, this.#facts.services.namespace(service.namespace), takenOver, shape)
  }

  #barOf({ namespace }: Service): Bar | undefined {
    if (!this.#podNamespaces.has(namespace)) return undefined
    return ({ ip, traits }) => this.#facts.pods.whyBarred(namespace, ip, traits.isPod)
  }

  #inputs(
    { service, settings, kernelLayers, namespace }: Shape,
    { slices }: Pick<ServiceFacts, 'slices'>,
    { ports, candidates }: Derived,
  ): Omit<PortInputs, 'envoyAddresses'> {
    return {
      settings,
      slices,
      topology: this.#topology,
      namespace,
      obstacles: this.#obstacles,
      claims: this.#claims,
      barFor: isForEnvoy => {
        if (isForEnvoy) this.#podNamespaces.add(service.namespace)
        return this.#barOf(service)
      },
      kernelLayers,
      excluded: this.#excluded,
      whyMisnamed: (id, port, settings) => this.#options.misnamed.why(id, port, settings),
      whyWaiting: (id, isAlways) => whyWaiting(this.#options, id, isAlways),
      remembered: candidates,
      before: ports,
    }
  }
}
