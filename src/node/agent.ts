/**
 * The agent of a node joins source → cluster facts → plan → kernel and Envoy, and feeds back what these report. It is
 * nobody's parent and nobody's child: when the agent dies, Envoy and the kernel go on with what they have.
 */

import type { UnixAddress } from '../envoy/program/sockets.ts'
import type { KernelBackend } from '../kernel/backend.ts'
import type { KernelLayer } from '../kernel/layer.ts'
import type { VipPort } from '../kernel/overlay.ts'
import { isListening } from '../kernel/system/connections/listening.ts'
import type { IpFamily } from '../net/address.ts'
import type { Log } from '../observe/log.ts'
import { createEndpointMetrics } from '../observe/metrics/endpoint-metrics.ts'
import { createKubeProxyMetrics, type KubeProxyMetrics } from '../observe/metrics/kubeproxy-metrics.ts'
import { createMetrics, type Metrics } from '../observe/metrics/metrics.ts'
import { ProblemRegistry } from '../observe/problems.ts'
import type { NodePlan } from '../plan/nodeplan.ts'
import type { NodePolicies } from '../plan/policies.ts'
import type { PortState } from '../plan/ports/port.ts'
import type { ClusterFacts } from '../services/clusterfacts.ts'
import type { Source } from '../sources/source.ts'
import { Delivery } from './delivery.ts'
import type { EnvoyLayer } from './envoy/envoylayer.ts'
import type { OverlaySwitch } from './envoy/overlayswitch.ts'
import type { NodeExclusions } from './exclusions/exclusions.ts'
import { externalObstacles } from './externalobstacles.ts'
import type { SyncHealth } from './health/synchealth.ts'
import type { AgentOptions } from './options.ts'
import { type AgentParts, clientMarkOf, createParts } from './parts.ts'
import type { ClientAddressChoice } from './probes/clientaddress.ts'
import { watchLosses } from './probes/losses.ts'
import type { PathState, PathWatch } from './probes/watch.ts'
import { Reactions } from './reactions.ts'
import { Programming } from './report/metrics/programming.ts'
import { readingsOf } from './report/metrics/readings.ts'
import type { LayerMoves } from './report/owners/moves.ts'
import type { StayingPorts } from './report/owners/staying.ts'
import { LoadingHeap } from './system/heap.ts'
import { takeOverNode } from './takeover.ts'
import { countBelow } from './use/below.ts'
import type { OverloadRelief } from './use/overloadrelief.ts'
import type { UseWatch } from './use/usewatch.ts'

/**
 * How long the redirects of a previous run wait for an Envoy that has not connected yet: several of its longest
 * back-offs.
 */
const inheritanceMs = 10_000

export class Agent {
  readonly problems: ProblemRegistry
  readonly facts: ClusterFacts
  readonly plan: NodePlan
  readonly kernel: KernelLayer
  readonly envoy: EnvoyLayer
  readonly overlaySwitch: OverlaySwitch
  readonly path: PathWatch
  readonly health: SyncHealth
  readonly moves: LayerMoves
  readonly staying: StayingPorts
  readonly use: UseWatch
  readonly overload: OverloadRelief
  readonly metrics: Metrics
  readonly kubeProxyMetrics: KubeProxyMetrics
  readonly #options: AgentOptions
  readonly #source: Source
  readonly #log: Log
  readonly #parts: AgentParts
  readonly #delivery: Delivery
  readonly #reactions: Reactions
  readonly #heap = new LoadingHeap()
  #clientAddress: ClientAddressChoice
  #inheritance: NodeJS.Timeout | undefined
  /** Watches for lost packets on the path to Envoy. */
  #losses: { stop(): Promise<void> } | undefined
  #stopped = false

  constructor(options: AgentOptions, source: Source, log: Log) {
    this.#options = options
    this.#source = source
    this.#log = log
    this.#clientAddress = options.clientAddress
    this.problems = new ProblemRegistry(log)
    this.#parts = createParts(options, source, log, {
      report: event => this.#reactions.react(event),
      chooseClientAddress: choice => this.#chooseClientAddress(choice),
    })
    this.facts = this.#parts.facts
    this.plan = this.#parts.plan
    this.kernel = this.#parts.kernel
    this.envoy = this.#parts.envoy
    this.overlaySwitch = this.#parts.overlaySwitch
    this.path = this.#parts.path
    this.health = this.#parts.health
    this.moves = this.#parts.moves
    this.staying = this.#parts.staying
    this.use = this.#parts.use
    this.overload = this.#parts.overload
    this.metrics = createMetrics(readingsOf(this.#parts, this.problems, options.families))
    this.kubeProxyMetrics = createKubeProxyMetrics(this.metrics.registry, options.families, () => this.plan.states())
    createEndpointMetrics(this.metrics.services, () => this.#parts.balanced.read())
    const { metrics, kubeProxyMetrics, problems } = this
    const shared = { ...options, source, log, metrics, kubeProxyMetrics, problems }
    const programming = new Programming(metrics.programming, log)
    this.#delivery = new Delivery({ ...shared, programming }, this.#parts)
    this.#reactions = new Reactions({ ...shared, programming, delivery: this.#delivery }, this.#parts)
  }

  /** Starts the kernel first, as a previous run left it, and all else once the source has reported everything. */
  async start(): Promise<void> {
    this.#heap.begin()
    const { kernel, envoy, exclusions } = this.#parts
    const inherited = await kernel.start()
    if (inherited.length > 0 && !(await this.#isEnvoyListening())) kernel.clearOverlay()
    else envoy.redirects.inherit(inherited)
    await this.#source.start({
      changes: changes => this.#delivery.changes(changes),
      synced: () => void this.#begin(inherited),
      problems: (origin, problems) => this.problems.set(origin, problems),
      exclusions: all => this.#delivery.update(exclusions.set(all)),
      asked: endpoints => exclusions.reachability.ask(endpoints),
    })
  }

  async #begin(inherited: readonly VipPort[]): Promise<void> {
    const { envoy, xds, redirectPort, slow, lastingConnections, vanished, use, connectionWatch, accessLog, plan } =
      this.#parts
    const { exclusions, unanswered } = this.#parts
    await this.#delivery.fillBudget(inherited)
    const written = this.#delivery.beginKernel()
    this.#log.info(plan.counts(), 'synchronised')
    void takeOverNode({ ...this.#options, kernel: this.kernel, health: this.health, log: this.#log })
    await written
    if (this.#stopped) return
    this.#delivery.beginEnvoy()
    this.#heap.end()
    this.#inheritance = setTimeout(() => envoy.redirects.dropUnconfirmed(), inheritanceMs)
    const onAccessLog = (request: Uint8Array) => accessLog.take(request)
    xds.start({ storeOf: () => envoy.store, forActive: envoy.boundListeners, observer: envoy.observer, onAccessLog })
    redirectPort.watch()
    vanished.start()
    if (exclusions.areShared) unanswered.start()
    slow.start()
    lastingConnections.start()
    use.watch()
    connectionWatch.watch()
    if (this.#options.pathTest) {
      const { families } = this.#options
      this.#losses = watchLosses({ families, onSuspicion: (family, why) => this.#suspectPath(family, why) })
    }
  }

  /** Stops, and leaves Envoy and the kernel as they are: traffic flows on without the agent. */
  async stop(): Promise<void> {
    this.#stopped = true
    const parts = this.#parts
    clearTimeout(this.#inheritance)
    this.#heap.stop()
    for (const part of [parts.handovers, this.#delivery, parts.envoy, parts.redirectPort, parts.moves]) part.stop()
    for (const part of [
      parts.staying,
      parts.use,
      parts.overload,
      parts.connectionWatch,
      parts.accessLog,
      parts.ejections,
      parts.cutConnections,
      parts.misnamed,
      parts.lostRequests,
      parts.exclusions.reachability,
    ])
      part.stop()
    await parts.vanished.stop()
    await parts.unanswered.stop()
    await parts.slow.stop()
    await parts.lastingConnections.stop()
    await this.#losses?.stop()
    await parts.path.stop()
    await parts.podRules.stop()
    await parts.proof.stop()
    await this.#source.stop()
    await parts.healthChecks.stop()
    await parts.xds.stop()
    await parts.kernel.close()
  }

  /** Tests the path when something seems to take packets on it, and otherwise every few minutes. */
  #suspectPath(family: IpFamily, why: string): void {
    this.#log.info({ family }, `${why}: the path is tested`)
    this.path.suspect(family)
  }

  /**
   * Prepares the kernel first, because Envoy's connections from the client's address need its rules. The kernel keeps
   * the rules when the choice changes back, for connections that are open.
   */
  async #chooseClientAddress(choice: ClientAddressChoice): Promise<void> {
    if (choice.mode === 'preserve') await this.kernel.setClientAddress(choice.mode)
    this.#clientAddress = choice
    this.envoy.setClientAddress(choice, clientMarkOf(choice, this.#options))
    const obstacles = externalObstacles({ ...this.#options, clientAddress: choice })
    this.#delivery.update(this.plan.setObstacles(obstacles))
    this.#log.info({ mode: choice.mode }, choice.why)
  }

  /**
   * Empties the overlay: an Envoy that starts anew knows none of the redirected VIPs, and no other process may get
   * them.
   */
  async #isEnvoyListening(): Promise<boolean> {
    const owner = this.#parts.redirectPort.owner()
    return owner === 'unknown' ? isListening(this.#options.redirectPort) : owner === 'envoy'
  }

  /** Decides which pods stay in the kernel layer, as clients or as endpoints. */
  get policies(): NodePolicies {
    return this.plan.policies
  }

  /** What other nodes have found dead. */
  get exclusions(): NodeExclusions {
    return this.#parts.exclusions
  }

  /** The backend that writes the kernel layer. */
  get backend(): KernelBackend {
    return this.#options.backend
  }

  /** The directory of Envoy's sockets, and of what its module records of endpoints. */
  get envoyDirectory(): string {
    return this.#options.envoySockets
  }

  /** The admin sockets of the Envoys to ask. */
  get adminSockets(): readonly UnixAddress[] {
    return this.#parts.adminSockets()
  }

  /** Whether connections of pods reach Envoy. */
  pathOf(family: IpFamily): PathState {
    return this.#options.pathTest ? (this.path.result(family) ?? { outcome: 'untested' }) : { outcome: 'assumed' }
  }

  /** The source has reported everything that existed at the start. */
  get isSynced(): boolean {
    return this.#delivery.isSynced
  }

  /** What endpoints see as the peer of connections through Envoy. */
  get clientAddress(): ClientAddressChoice {
    return this.#clientAddress
  }

  get families(): readonly IpFamily[] {
    return this.#options.families
  }

  /**
   * Counts the connections to the port that stay in the kernel layer, where they began. Rejects where conntrack cannot
   * be read.
   */
  connectionsBelow({ vip, port }: PortState): Promise<number> {
    return countBelow([{ ip: vip, port: port.port }], this.#options)
  }
}
