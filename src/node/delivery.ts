/**
 * Delivers what the source reports to the kernel layer and Envoy. Nothing is delivered before the source has said that
 * everything is known: half of it would take down Services that a previous run left working. Envoy's part begins after
 * the kernel's: what Envoy gets takes longer to make, and until it has it the kernel layer serves everything.
 */

import { externalId, frontendsOf } from '../envoy/resources/frontend.ts'
import { nodePortRanges } from '../kernel/nodeconfig.ts'
import type { VipPort } from '../kernel/overlay.ts'
import { hostPort, type IpFamily } from '../net/address.ts'
import type { KubeProxyMetrics } from '../observe/metrics/kubeproxy-metrics.ts'
import type { Metrics } from '../observe/metrics/metrics.ts'
import type { ProblemRegistry } from '../observe/problems.ts'
import type { PolicyFacts } from '../plan/policies.ts'
import type { PlanUpdate, PortChange } from '../plan/update.ts'
import type { Change } from '../services/objects/objects.ts'
import type { Source } from '../sources/source.ts'
import type { AgentOptions } from './options.ts'
import type { AgentParts } from './parts.ts'
import type { Programming } from './report/metrics/programming.ts'
import { InParts } from './tasks/inparts.ts'

/** How many changed ports the layers get before the event loop turns. */
const portsATurn = 1000

export interface DeliveryOptions extends Pick<AgentOptions, 'families' | 'nodeportAddresses'> {
  readonly source: Source
  readonly metrics: Metrics
  readonly kubeProxyMetrics: KubeProxyMetrics
  readonly programming: Programming
  readonly problems: ProblemRegistry
}

export class Delivery {
  readonly #options: DeliveryOptions
  readonly #parts: AgentParts
  readonly #deliveries = new InParts<PortChange>(portsATurn)
  /** What the kernel layer got last. */
  #policies: PolicyFacts | undefined
  #isSynced = false
  #hasEnvoyBegun = false

  constructor(options: DeliveryOptions, parts: AgentParts) {
    this.#options = options
    this.#parts = parts
  }

  /** The source has reported everything that existed at the start. */
  get isSynced(): boolean {
    return this.#isSynced
  }

  /** Takes changes of the source's objects. */
  changes(changes: readonly Change[]): void {
    const arrived = performance.now()
    const { facts, plan, podRules } = this.#parts
    for (const change of changes) {
      this.#options.metrics.changes.inc({ kind: change.type === 'put' ? change.object.kind : change.key.kind })
    }
    const update = plan.apply(facts.apply(changes))
    this.#options.source.needPods?.(plan.podNamespaces)
    if (update.policiesChanged && this.#isSynced) this.#setPolicies()
    if (update.policiesChanged && plan.policies.addresses().length > 0) podRules.changed()
    this.update(update, arrived, changes)
  }

  /** Takes changes of the plan. */
  update(
    { ports, problems, healthChecks, handedOver }: PlanUpdate,
    arrived = performance.now(),
    changes: readonly Change[] = [],
  ): void {
    const { kubeProxyMetrics } = this.#options
    for (const [object, found] of problems) this.#options.problems.set(object, found)
    this.#parts.healthChecks.setRanges(this.#nodePortRanges())
    for (const [service, checks] of healthChecks) this.#parts.healthChecks.set(service, checks)
    for (const service of handedOver) this.#parts.handovers.begin(service)
    const noteChanges = () => kubeProxyMetrics.changed(changes, familiesByService(ports), performance.now())
    if (!this.#isSynced) {
      noteChanges()
      return
    }
    this.#setNode()
    this.#deliveries.add(ports, (part, isLast) => {
      if (isLast) noteChanges()
      this.#deliver(part, arrived)
    })
  }

  /**
   * Where not all ports fit into Envoy, the kernel reports which are called. For that it has to know their addresses.
   *
   * @param inherited what a previous run redirects to Envoy
   */
  async fillBudget(inherited: readonly VipPort[]): Promise<void> {
    const { plan, kernel, use } = this.#parts
    if (!use.isByUse) return
    const asked = [...plan.states()]
    for (const state of asked) kernel.setPort(state)
    const redirected = new Set(inherited.map(({ ip, port }) => hostPort(ip, port)))
    const before = asked.filter(({ vip, port }) => redirected.has(hostPort(vip, port.port)))
    const moved = await use.begin(new Set(before.map(({ id }) => id)))
    this.update(plan.budgeted(moved))
    for (const { id } of asked) if (!plan.get(id)) kernel.removePort(id)
  }

  /** Gives the kernel layer everything. Resolves when it has been written, or when the first try has failed. */
  beginKernel(): Promise<void> {
    const { plan, kernel, health } = this.#parts
    this.#isSynced = true
    this.#setPolicies()
    health.queued(performance.now())
    this.#setNode()
    for (const state of plan.states()) kernel.setPort(state)
    return kernel.synced()
  }

  /** Gives Envoy everything. */
  beginEnvoy(): void {
    const { plan, envoy, moves, staying, misnamed } = this.#parts
    this.#hasEnvoyBegun = true
    const states = [...plan.states()]
    moves.begin(states.flatMap(frontendsOf))
    const changes = states.map(after => ({ id: after.id, before: undefined, after }))
    envoy.begin(changes)
    for (const change of changes) staying.changed(change)
    misnamed.begin()
    envoy.redirects.dropUnwanted()
  }

  stop(): void {
    this.#deliveries.stop()
  }

  #deliver(ports: readonly PortChange[], arrived: number): void {
    const { kernel, health } = this.#parts
    health.queued(performance.now(), new Set(ports.map(familyOfChange)))
    for (const { id, after } of ports) {
      this.#options.programming.changed(id, arrived)
      if (after) kernel.setPort(after)
      else kernel.removePort(id)
    }
    if (this.#hasEnvoyBegun) this.#deliverToEnvoy(ports, arrived)
  }

  #deliverToEnvoy(ports: readonly PortChange[], arrived: number): void {
    const { envoy, moves, staying, misnamed, lostRequests } = this.#parts
    envoy.apply(ports, arrived)
    for (const change of ports) {
      staying.changed(change)
      misnamed.changed(change)
      lostRequests.changed(change)
    }
    for (const { id, after } of ports) {
      moves.wanted(id, after?.layer)
      moves.wanted(externalId(id), after?.external?.layer)
    }
  }

  #setNode(): void {
    const { plan, facts, kernel } = this.#parts
    kernel.setNode(plan.node)
    kernel.setServiceRanges(facts.services.serviceRanges)
  }

  #setPolicies(): void {
    const { plan, kernel, endings } = this.#parts
    const { facts } = plan.policies
    if (facts === this.#policies) return
    this.#policies = facts
    kernel.setPolicies(facts)
    void endings.hold(facts)
  }

  #nodePortRanges(): readonly string[] {
    const { families, nodeportAddresses } = this.#options
    return families.flatMap(family => nodePortRanges(family, this.#parts.plan.node, nodeportAddresses))
  }
}

function familyOfChange({ before, after }: PortChange): IpFamily {
  return (after ?? before)!.family
}

/** The families of each Service that have to be written, by `namespace/name`. */
function familiesByService(ports: readonly PortChange[]): ReadonlyMap<string, ReadonlySet<IpFamily>> {
  const families = new Map<string, Set<IpFamily>>()
  for (const { before, after } of ports) {
    const { namespace, name, family } = (after ?? before)!
    const service = `${namespace}/${name}`
    families.set(service, (families.get(service) ?? new Set()).add(family))
  }
  return families
}
