/**
 * The agent of a node: source → services → Envoy and kernel. It is nobody's parent and nobody's child: with the agent
 * dead, Envoy and kernel go on with what they were told.
 *
 * Nothing is told to anybody before the source has said that everything is known: half of it would take down Services
 * that a previous run left working.
 */

import { endpointLoads, readActivity } from '../envoy/program/admin.ts'
import { adminSocket, canarySocket, type EnvoySockets, type UnixAddress, xdsSocket } from '../envoy/program/sockets.ts'
import { externalId, type Frontend, frontendsOf, portIdOf } from '../envoy/resources/frontend.ts'
import { redirectListeners } from '../envoy/resources/redirect.ts'
import type { KernelBackend } from '../kernel/backend.ts'
import { familiesOf } from '../kernel/family.ts'
import type { KernelLayer, KernelObserver, Round } from '../kernel/layer.ts'
import { nodePortRanges } from '../kernel/nodeconfig.ts'
import type { MasqueradeOptions, NodePlanOptions } from '../kernel/options.ts'
import type { VipPort } from '../kernel/overlay.ts'
import { LayerPerFamily } from '../kernel/perfamily.ts'
import { isListening } from '../kernel/system/listening.ts'
import { migratesRequests } from '../kernel/system/sysctl.ts'
import { takeOver } from '../kernel/takeover.ts'
import { hostPort, type IpFamily } from '../net/address.ts'
import { AccessLog } from '../observe/accesslog/accesslog.ts'
import { failureOf } from '../observe/accesslog/records.ts'
import type { Log } from '../observe/log.ts'
import { createKubeProxyMetrics, type KubeProxyMetrics } from '../observe/metrics/kubeproxy-metrics.ts'
import { createMetrics, type Metrics } from '../observe/metrics/metrics.ts'
import { ProblemRegistry } from '../observe/problems.ts'
import { budgetOptions, EnvoyBudget } from '../plan/envoy/budget.ts'
import { HeldBack } from '../plan/envoy/heldback.ts'
import { NodePlan } from '../plan/nodeplan.ts'
import type { NodePolicies, PolicyFacts } from '../plan/policies.ts'
import type { PortState } from '../plan/ports/port.ts'
import type { ServiceScope } from '../plan/ports/scope.ts'
import type { PlanUpdate, PortChange } from '../plan/update.ts'
import { ClusterFacts } from '../services/clusterfacts.ts'
import type { Change } from '../services/objects/objects.ts'
import { problem } from '../services/problem.ts'
import type { NodeLbPolicy } from '../services/settings/settings.ts'
import type { Source, SourceListener } from '../sources/source.ts'
import { startXdsServer, type XdsServer } from '../xds/server.ts'
import { lookUpAddresses } from './addresses.ts'
import { CutConnections } from './endpoints/cut-connections.ts'
import { Ejections } from './endpoints/ejections.ts'
import { VanishedEndpoints } from './endpoints/vanished.ts'
import { startCanary } from './envoy/canary.ts'
import { Endings } from './envoy/endings.ts'
import { EnvoyLayer } from './envoy/envoylayer.ts'
import { Handovers } from './envoy/handovers.ts'
import { OverlaySwitch } from './envoy/overlayswitch.ts'
import { RedirectPort } from './envoy/redirectport.ts'
import { HealthCheckPorts } from './health/healthcheckports.ts'
import { SyncHealth } from './health/synchealth.ts'
import { InParts } from './inparts.ts'
import type { RedirectMove } from './lifecycle/redirectset.ts'
import { outsideObstacles } from './outside.ts'
import { PodRules, readPodRules } from './podrules.ts'
import type { ClientAddressChoice } from './probes/clientaddress.ts'
import { type ClientAddressWatch, watchClientAddress } from './probes/clientaddresswatch.ts'
import { watchLosses } from './probes/losses.ts'
import { localPods, watchPath } from './probes/podpath.ts'
import type { PathState, PathWatch } from './probes/watch.ts'
import { missedServices } from './report/missed.ts'
import { LayerMoves } from './report/moves.ts'
import { Programming } from './report/programming.ts'
import { StayingPorts } from './report/staying.ts'
import { type Retried, startRetrying } from './retry.ts'
import { envoySockets, prepareSocketDirectory } from './socketdirectory.ts'
import { countBelow } from './use/below.ts'
import { countInEnvoy } from './use/heaviest.ts'
import { OverloadRelief } from './use/overloadrelief.ts'
import { rebalance } from './use/rebalance.ts'
import { UseWatch } from './use/usewatch.ts'

export interface AgentOptions extends MasqueradeOptions, Omit<NodePlanOptions, 'ownsClusterIPs'> {
  readonly nodeName: string
  readonly services: ServiceScope
  readonly families: readonly IpFamily[]
  /** Directory of the sockets between agent and Envoy. */
  readonly envoySockets: string
  /** User id of Envoy, and its group's. */
  readonly envoyUser: number
  readonly redirectPort: number
  readonly steeringMark: number
  readonly envoyMark: number
  readonly routeTable: number
  readonly rulePriority: number
  /** As in KernelOptions. */
  readonly abandonAfter: number
  /** Where agent and Envoy listen on this node. */
  readonly reservedPorts: ReadonlySet<number>
  /** What writes the kernel layer. */
  readonly backend: KernelBackend
  /** At the start. */
  readonly clientAddress: ClientAddressChoice
  /** Whether it may change, once the client's address is proven to work. */
  readonly provesClientAddress: boolean
  readonly drainTime: number
  /** Lines a second of a Service port. */
  readonly accessLogRate: number
  /** Takes the lines of the access log, each with its newline. */
  readonly writeAccessLog: (line: string) => void
  readonly envoyPortsPerService: number
  readonly envoyPortsPerNamespace: number
  /** How many ports Envoy takes on this node. */
  readonly envoyPorts: number | 'all'
  /** How many endpoints Envoy has of a port, on this node; 0: all. */
  readonly envoyEndpointsPerPort: number
  /** Of ports whose settings name none. */
  readonly lbPolicy: NodeLbPolicy
  /** Whether the path from pods to Envoy is tested; without, it counts as open. */
  readonly pathTest: boolean
}

/** How long Envoy may take to have an acknowledged listener in all its workers. */
const settleMs = 250
const drainIntervalMs = 5000
const canaryTimes = { intervalMs: 1000, startIntervalMs: 50, timeoutMs: 1000, misses: 2, recovery: 30 }
/** Long enough for a flood to end, or for its owner to act. */
const overloadHoldMs = 600e3
/** How long overlay entries of a previous run are kept for an Envoy that has not connected yet: several of its longest back-offs. */
const inheritanceMs = 10_000
const retryMs = 5000
const portIntervalMs = 1000
const gatherMs = 500
const stayingMs = 10_000
/** So many changed ports are told to the layers before the event loop turns. */
const portsATurn = 1000

export class Agent {
  readonly problems: ProblemRegistry
  readonly facts: ClusterFacts
  readonly plan: NodePlan
  readonly kernel: KernelLayer
  readonly overlaySwitch: OverlaySwitch
  readonly envoy: EnvoyLayer
  readonly metrics: Metrics
  readonly kubeProxyMetrics: KubeProxyMetrics
  readonly health: SyncHealth
  readonly moves: LayerMoves
  readonly staying: StayingPorts
  readonly #healthChecks: HealthCheckPorts
  readonly path: PathWatch
  readonly use: UseWatch
  readonly overload: OverloadRelief
  readonly #proof: ClientAddressWatch
  readonly #podRules: PodRules
  readonly #options: AgentOptions
  readonly #sockets: EnvoySockets
  readonly #redirectPort: RedirectPort
  readonly #log: Log
  readonly #source: Source
  readonly #programming: Programming
  readonly #endings: Endings
  readonly #vanished: VanishedEndpoints
  readonly #ejections: Ejections
  readonly #cutConnections = new CutConnections((id, endConnections) => this.envoy.observe(id, { endConnections }))
  readonly #accessLog: AccessLog
  readonly #handovers = new Handovers(service => this.#update(this.plan.release(service), performance.now()))
  #clientAddress: ClientAddressChoice
  #xds: Retried<XdsServer> | undefined
  /** What a previous run left in the overlay. */
  #inherited: readonly VipPort[] = []
  #inheritance: NodeJS.Timeout | undefined
  /** What the layers are to be told of ports. */
  readonly #deliveries = new InParts<PortChange>(portsATurn)
  /** Of packets on the path to Envoy. */
  #losses: { stop(): Promise<void> } | undefined
  /** As the kernel was told. */
  #facts: PolicyFacts | undefined
  #synced = false

  constructor(options: AgentOptions, source: Source, log: Log) {
    this.#options = options
    this.#sockets = envoySockets(options)
    this.#redirectPort = this.#createRedirectPort()
    this.#clientAddress = options.clientAddress
    this.#source = source
    this.#log = log
    this.problems = new ProblemRegistry(log)
    const hasAddress = lookUpAddresses()
    const budget = new EnvoyBudget(budgetOptions({ ...options, tracksUse: options.backend.capabilities.tracksUse }))
    const heldBack = new HeldBack()
    this.facts = new ClusterFacts({ tellsPods: source.needPods !== undefined, podRanges: options.clusterCidr })
    this.plan = new NodePlan(this.facts, {
      name: options.nodeName,
      scope: options.services,
      obstacles: outsideObstacles(options),
      reserved: { ports: options.reservedPorts, hasAddress },
      limits: { ofService: options.envoyPortsPerService, ofNamespace: options.envoyPortsPerNamespace },
      budget,
      heldBack,
    })
    this.metrics = this.#createMetrics()
    this.#accessLog = new AccessLog({
      rate: options.accessLogRate,
      servicePortAt: address => this.envoy.frontendAt(address),
      write: options.writeAccessLog,
      onRecord: (owner, record) => {
        const failure = failureOf(record)
        if (!failure) return
        this.#ejections.failed(owner)
        this.#cutConnections.failed(owner, failure)
      },
      onLeftOut: servicePort => this.metrics.leftOutOfAccessLog.inc({ service_port: servicePort }),
      onProblems: (origin, problems) => this.problems.set(origin, problems),
    })
    this.#programming = new Programming(this.metrics.programming, log)
    this.kubeProxyMetrics = createKubeProxyMetrics(this.metrics.registry, options.families, () => this.plan.states())
    this.health = new SyncHealth(options.families)
    this.#healthChecks = new HealthCheckPorts({
      families: options.families,
      isHealthy: () => this.health.isHealthy(performance.now()),
      onProblems: (origin, problems) => this.problems.set(origin, problems),
      log,
    })
    const { nodeName } = options
    this.moves = new LayerMoves({
      nodeName,
      frontendOf: id => this.#frontendOf(id),
      isReachable: family => this.envoy.isPathOpen(family),
      log,
      gatherMs,
    })
    this.overlaySwitch = new OverlaySwitch({
      nodeName: options.nodeName,
      onProblems: (origin, problems) => this.problems.set(origin, problems),
    })
    this.staying = new StayingPorts({ nodeName, stateOf: id => this.plan.get(id), log, afterMs: stayingMs })
    this.kernel = this.#createKernel(budget.followsUse)
    this.use = new UseWatch({
      nodeName,
      budget,
      calls: () => this.kernel.calls(),
      activity: ids => this.envoy.activityOf(ids),
      onMoved: ids => this.#update(this.plan.budgeted(ids), performance.now()),
      log,
    })
    this.overload = new OverloadRelief({
      nodeName,
      heldBack,
      connections: () => countInEnvoy({ ...options, frontendAt: address => this.envoy.frontendAt(address) }),
      onMoved: ids => this.#update(this.plan.budgeted(ids), performance.now()),
      log,
      holdMs: overloadHoldMs,
    })
    this.#endings = new Endings({ ...options, kernel: this.kernel, hasAddress, log })
    this.#ejections = new Ejections({
      frontendOf: id => this.envoy.frontendOf(id),
      lbPolicyOf: frontend => this.envoy.lbPolicyOf(frontend),
      loads: clusters => endpointLoads(this.adminSockets, clusters),
      eject: (id, ejected) => this.envoy.observe(id, { ejected }),
      onEjection: id => this.metrics.comparedEjections.inc({ service_port: id }),
      log,
    })
    this.#vanished = new VanishedEndpoints({
      envoyMark: options.envoyMark,
      frontends: () => this.#envoyFrontends(),
      log,
    })
    this.envoy = this.#createEnvoyLayer()
    this.path = watchPath({
      ...options,
      settleMs,
      envoy: this.envoy,
      pods: () => localPods(options.nodeName, this.plan),
      onProblems: (origin, problems) => this.problems.set(origin, problems),
      log,
    })
    this.#podRules = new PodRules({
      gatherMs,
      read: () => readPodRules(options.families, localPods(options.nodeName, this.plan)),
      onNew: () => {
        this.path.podsDiffer()
        this.#look()
      },
    })
    this.#proof = watchClientAddress({
      ...options,
      plan: this.plan,
      envoys: this.envoy.envoys,
      onChoice: choice => this.#chooseClientAddress(choice),
    })
  }

  async start(): Promise<void> {
    const inherited = await this.kernel.start()
    this.#inherited = inherited
    if (inherited.length > 0 && !(await this.#isEnvoyListening())) this.kernel.clearOverlay()
    else this.envoy.redirects.inherit(inherited)
    await this.#source.start(this.#listener())
  }

  /** An Envoy that starts anew knows none of the VIPs that are steered to it, and another process is to get nothing. */
  async #isEnvoyListening(): Promise<boolean> {
    const owner = this.#redirectPort.owner()
    return owner === 'unknown' ? isListening(this.#options.redirectPort) : owner === 'envoy'
  }

  /** The source has told everything that there was at the start. */
  get isSynced(): boolean {
    return this.#synced
  }

  /** Who stays in the kernel layer, as a client or as an endpoint. */
  get policies(): NodePolicies {
    return this.plan.policies
  }

  /** What writes the kernel layer. */
  get backend(): KernelBackend {
    return this.#options.backend
  }

  /** What endpoints see as the peer of connections through Envoy. */
  get clientAddress(): ClientAddressChoice {
    return this.#clientAddress
  }

  get families(): readonly IpFamily[] {
    return this.#options.families
  }

  /** Whether connections of pods reach Envoy. */
  pathOf(family: IpFamily): PathState {
    return this.#options.pathTest ? (this.path.result(family) ?? { outcome: 'untested' }) : { outcome: 'assumed' }
  }

  /** Without those that the node has no address of. */
  #familiesOfNode(): readonly IpFamily[] {
    return this.families.filter(family => this.pathOf(family).outcome !== 'absent')
  }

  /** Of the sockets, and of what Envoys' modules see of endpoints. */
  get envoyDirectory(): string {
    return this.#sockets.directory
  }

  /** Of the Envoys that are to be asked. */
  get adminSockets(): readonly UnixAddress[] {
    return this.envoy.envoys.instances.map(instance => adminSocket(this.#sockets, instance))
  }

  get xds(): XdsServer | undefined {
    return this.#xds?.started()
  }

  /** Leaves Envoy and the kernel as they are: traffic flows on without the agent. */
  async stop(): Promise<void> {
    clearTimeout(this.#inheritance)
    this.#handovers.stop()
    this.#deliveries.stop()
    this.envoy.stop()
    this.#redirectPort.stop()
    this.moves.stop()
    this.staying.stop()
    this.use.stop()
    this.overload.stop()
    this.#accessLog.stop()
    this.#ejections.stop()
    this.#cutConnections.stop()
    await this.#vanished.stop()
    await this.#losses?.stop()
    await this.path.stop()
    await this.#podRules.stop()
    await this.#proof.stop()
    await this.#source.stop()
    await this.#healthChecks.stop()
    await (await this.#xds?.stop())?.stop()
    await this.kernel.close()
  }

  #listener(): SourceListener {
    return {
      changes: changes => this.#changes(changes),
      synced: () => void this.#fillBudget().then(() => this.#begin()),
      problems: (origin, problems) => this.problems.set(origin, problems),
    }
  }

  #changes(changes: readonly Change[]): void {
    const arrived = performance.now()
    for (const change of changes) {
      this.metrics.changes.inc({ kind: change.type === 'put' ? change.object.kind : change.key.kind })
    }
    const update = this.plan.apply(this.facts.apply(changes))
    this.#source.needPods?.(this.plan.podNamespaces)
    if (update.policiesChanged) this.#policiesChanged()
    this.#update(update, arrived, changes)
  }

  #update(
    { ports, problems, healthChecks, handedOver }: PlanUpdate,
    arrived: number,
    changes: readonly Change[] = [],
  ): void {
    for (const [object, found] of problems) this.problems.set(object, found)
    this.#healthChecks.setRanges(this.#nodePortRanges())
    for (const [service, checks] of healthChecks) this.#healthChecks.set(service, checks)
    for (const service of handedOver) this.#handovers.begin(service)
    const noteChanges = () => this.kubeProxyMetrics.changed(changes, familiesByService(ports), performance.now())
    if (!this.#synced) {
      noteChanges()
      return
    }
    this.kernel.setNode(this.plan.node)
    this.kernel.setServiceRanges(this.facts.services.serviceRanges)
    this.#deliveries.add(ports, (part, isLast) => {
      if (isLast) noteChanges()
      this.#deliver(part, arrived)
    })
  }

  #deliver(ports: readonly PortChange[], arrived: number): void {
    this.health.queued(performance.now(), new Set(ports.map(familyOfChange)))
    for (const { id, after } of ports) {
      this.#programming.changed(id, arrived)
      if (after) this.kernel.setPort(after)
      else this.kernel.removePort(id)
    }
    this.envoy.apply(ports, arrived)
    for (const change of ports) this.staying.changed(change)
    for (const { id, after } of ports) {
      this.moves.wanted(id, after?.layer)
      this.moves.wanted(externalId(id), after?.external?.layer)
    }
  }

  #frontendOf(id: string): Frontend | undefined {
    const state = this.plan.get(portIdOf(id))
    return state && frontendsOf(state).find(frontend => frontend.id === id)
  }

  *#envoyFrontends(): Iterable<Frontend> {
    for (const state of this.plan.states())
      for (const frontend of frontendsOf(state)) if (frontend.layer.wants === 'envoy') yield frontend
  }

  #nodePortRanges(): readonly string[] {
    const { families, nodeportAddresses } = this.#options
    return families.flatMap(family => nodePortRanges(family, this.plan.node, nodeportAddresses))
  }

  #policiesChanged(): void {
    if (this.#synced) this.#setPolicies()
    if (this.policies.addresses().length === 0) return
    this.#podRules.changed()
  }

  #setPolicies(): void {
    const { facts } = this.policies
    if (facts === this.#facts) return
    this.#facts = facts
    this.kernel.setPolicies(facts)
    void this.#endings.hold(facts)
  }

  /** Where not all ports fit into Envoy, the kernel is asked who was called, which takes knowing whose addresses there are. */
  async #fillBudget(): Promise<void> {
    if (!this.use.isByUse) return
    const asked = [...this.plan.states()]
    for (const state of asked) this.kernel.setPort(state)
    const inherited = new Set(this.#inherited.map(({ ip, port }) => hostPort(ip, port)))
    const before = asked.filter(({ vip, port }) => inherited.has(hostPort(vip, port.port)))
    const moved = await this.use.begin(new Set(before.map(({ id }) => id)))
    this.#update(this.plan.budgeted(moved), performance.now())
    for (const { id } of asked) if (!this.plan.get(id)) this.kernel.removePort(id)
  }

  #begin(): void {
    const states = [...this.plan.states()]
    this.#synced = true
    this.#setPolicies()
    this.health.queued(performance.now())
    this.kernel.setNode(this.plan.node)
    this.kernel.setServiceRanges(this.facts.services.serviceRanges)
    for (const state of states) this.kernel.setPort(state)
    this.moves.begin(states.flatMap(frontendsOf))
    const changes = states.map(after => ({ id: after.id, before: undefined, after }))
    this.envoy.begin(changes)
    for (const change of changes) this.staying.changed(change)
    this.envoy.redirects.dropUnwanted()
    this.kernel.synced()
    void this.#takeOver()
    this.#inheritance = setTimeout(() => this.envoy.redirects.dropUnconfirmed(), inheritanceMs)
    this.#xds = this.#startXds()
    this.#redirectPort.watch()
    this.#vanished.start()
    this.use.watch()
    if (this.#options.pathTest) this.#losses = this.#watchLosses()
    this.#log.info(this.plan.counts(), 'synchronised')
  }

  /** From an agent that wrote with another program: only once all is there by this one, so that nothing falls between. */
  async #takeOver(): Promise<void> {
    await this.kernel.settled()
    if (this.health.lastSynced === undefined) return
    const { backend, families } = this.#options
    try {
      const removed = await takeOver(backend, familiesOf(families))
      if (removed.length > 0) this.#log.info({ removed }, 'what an agent with another --proxy-mode left was removed')
    } catch (error) {
      this.#log.warn({ error: (error as Error).message }, 'what an agent with another --proxy-mode may have left stays')
    }
  }

  /** The path is tested when something takes packets on it, and otherwise every few minutes. */
  #watchLosses(): { stop(): Promise<void> } {
    return watchLosses({
      families: this.families,
      onSuspicion: (family, why) => {
        this.#log.info({ family }, `${why}: the path is tested`)
        this.path.suspect(family)
      },
    })
  }

  #startXds(): Retried<XdsServer> {
    const { envoyUser } = this.#options
    const { directory, users } = this.#sockets
    const { store, shared: forAdmitted } = this.envoy
    return startRetrying({
      everyMs: retryMs,
      start: async () => {
        prepareSocketDirectory(directory, envoyUser)
        const where = { path: xdsSocket(directory), group: envoyUser, users }
        return startXdsServer({
          storeOf: () => store,
          forAdmitted,
          ...where,
          observer: this.envoy,
          log: this.#log,
          onAccessLog: request => this.#accessLog.take(request),
        })
      },
      problem: error =>
        problem('LP302', 'xDS server', error.message, 'the kernel layer serves all Services; it is tried again'),
      onProblems: problems => {
        // No Envoy can confirm what a previous run left in the overlay.
        if (problems.length > 0) this.envoy.redirects.dropUnconfirmed()
        this.problems.set('xDS server', problems)
      },
    })
  }

  #createRedirectPort(): RedirectPort {
    return new RedirectPort({
      port: this.#options.redirectPort,
      users: () => {
        const connected = this.xds?.users() ?? []
        return connected.length > 0 ? connected : (this.#sockets.users ?? [])
      },
      everyMs: portIntervalMs,
      onProblems: problems => this.problems.set('redirect port', problems),
      onChange: () => this.envoy.portChanged(),
    })
  }

  #look(): void {
    if (this.#options.provesClientAddress) this.#proof.look()
  }

  /**
   * The kernel is ready first: Envoy's connections from the client's address need its rules. It keeps them when the choice
   * changes back, for the connections of before.
   */
  async #chooseClientAddress(choice: ClientAddressChoice): Promise<void> {
    if (choice.mode === 'preserve') await this.kernel.setClientAddress(choice.mode)
    this.#clientAddress = choice
    this.envoy.setClientAddress(choice, this.#clientMark(choice))
    this.#update(
      this.plan.setObstacles(outsideObstacles({ ...this.#options, clientAddress: choice })),
      performance.now(),
    )
    this.#log.info({ mode: choice.mode }, choice.why)
  }

  #clientMark({ mode }: ClientAddressChoice): number | undefined {
    return mode === 'preserve' ? this.#options.envoyMark : undefined
  }

  #createKernel(tracksUse: boolean): KernelLayer {
    const { backend, clientAddress, redirectPort: targetPort, services } = this.#options
    const ownsClusterIPs = services === 'all'
    const options = { ...this.#options, clientAddress: clientAddress.mode, targetPort, ownsClusterIPs, tracksUse }
    return new LayerPerFamily(this.#options.families, family =>
      backend.create({ ...options, families: [family] }, this.#kernelObserver(family)),
    )
  }

  #kernelObserver(family: IpFamily): KernelObserver {
    return {
      applied: ports => {
        this.#programming.kernelApplied(ports)
        this.envoy.kernelSynced(ports)
      },
      flushed: ({ ports, added, removed, bytes, milliseconds }) => {
        this.metrics.transactions.observe(milliseconds / 1000)
        this.#log.debug(
          { family, ports: ports.length, added, removed, bytes, milliseconds },
          `${this.backend.name} transaction`,
        )
      },
      damaged: what => {
        this.metrics.repairs.inc()
        this.#log.warn({ what }, 'somebody else changed rules of ours; they are mended')
      },
      overlaySwitched: isOff => this.overlaySwitch.set(family, isOff),
      foreignRules: () => this.#podRules.changed(),
      round: round => this.#kernelRound(family, round),
      reconciled: families => this.kubeProxyMetrics.reconciled(families),
      problems: (origin, problems) => this.problems.set(`${family} ${origin}`, problems),
    }
  }

  #kernelRound(family: IpFamily, round: Round): void {
    this.kubeProxyMetrics.round(family, round)
    if (round.ok && this.health.lastSynced === undefined) this.#healthChecks.open()
    this.health.round(family, round, performance.now())
  }

  #moved(ids: readonly string[], move: RedirectMove): void {
    this.moves.moved(ids, move)
    if (move !== 'promoted') return
    const frontends = ids.map(id => this.#frontendOf(id)).filter(frontend => frontend !== undefined)
    void rebalance(frontends, { ...this.#options, kernel: this.kernel, log: this.#log })
  }

  /** How many connections to the port stay in the kernel layer, where they began. Rejects where conntrack cannot be read. */
  connectionsBelow({ vip, port }: PortState): Promise<number> {
    return countBelow([{ ip: vip, port: port.port }], this.#options)
  }

  #createEnvoyLayer(): EnvoyLayer {
    const {
      nodeName,
      drainTime: drainMs,
      families,
      redirectPort,
      clientAddress,
      pathTest,
      envoyEndpointsPerPort,
      envoySockets: socketDirectory,
      lbPolicy,
    } = this.#options
    let wasUp: boolean | undefined
    return new EnvoyLayer({
      nodeName,
      endpointsPerPort: envoyEndpointsPerPort,
      lbPolicy,
      latencyDirectory: socketDirectory,
      settleMs,
      drainMs,
      drainIntervalMs,
      shared: redirectListeners({ redirectPort, families }),
      onConnected: () => this.#look(),
      clientAddress,
      clientMark: this.#clientMark(clientAddress),
      redirectPort,
      isPortEnvoys: () => this.#redirectPort.isEnvoys(),
      redirect: (addresses, isRedirected) => this.kernel.setOverlay(addresses, isRedirected),
      clearRedirects: () => this.kernel.clearOverlay(),
      endConnections: addresses => this.#endings.cut(addresses),
      onMoved: (ids, move) => this.#moved(ids, move),
      watchCanary: (instance, onChange) =>
        startCanary({
          socket: canarySocket(this.#sockets, instance),
          ...canaryTimes,
          onChange: answer => {
            onChange(answer)
            if (answer === 'overloaded') void this.overload.relieve()
          },
        }),
      handsOver: migratesRequests,
      acknowledgedVersion: (clientId, ref) => this.xds?.acknowledgedVersion(clientId, ref),
      setAdmitted: (clientId, admitted) => this.xds?.setAdmitted(clientId, admitted),
      activity: () => readActivity(this.adminSockets),
      onProblems: (origin, problems) => this.problems.set(origin, problems),
      onRefusal: servicePort => this.metrics.refusals.inc({ service_port: servicePort }),
      onProgrammed: (frontend, ms) => this.#programming.envoyHas(frontend, ms),
      onListening: () => {
        if (pathTest) this.path.listeningChanged()
        else for (const family of families) this.envoy.setPath(family, true)
      },
      onUp: up => {
        if (up === wasUp) return
        wasUp = up
        this.moves.envoy(up)
        if (up) this.#log.info({}, 'Envoy is up: what it has acknowledged goes to it')
        else this.#log.warn({}, 'Envoy is down or not connected: the kernel layer serves all Services')
      },
    })
  }

  #createMetrics(): Metrics {
    return createMetrics({
      objects: () => ({ ...this.plan.counts() }),
      overlayOff: () => this.overlaySwitch.isOff,
      overlayEntries: () => this.envoy.redirects.size,
      draining: () => this.envoy.draining,
      waiting: () => this.use.waiting,
      kernelElements: () => [...this.kernel.totals.values()].reduce((sum, count) => sum + count, 0),
      envoyUp: () => this.envoy.envoys.isUp,
      missed: () => missedServices(this.plan).length,
      kernelClients: () => this.policies.clients().length,
      paths: () => this.#familiesOfNode().map(family => [family, this.envoy.isPathOpen(family)]),
      problems: () => this.problems.counts(),
      xds: () => this.xds?.traffic ?? new Map(),
    })
  }
}

function familyOfChange({ before, after }: PlanUpdate['ports'][number]): IpFamily {
  return (after ?? before)!.family
}

/** Which families of each Service have to be written, by `namespace/name`. */
function familiesByService(ports: PlanUpdate['ports']): ReadonlyMap<string, ReadonlySet<IpFamily>> {
  const families = new Map<string, Set<IpFamily>>()
  for (const { before, after } of ports) {
    const { namespace, name, family } = (after ?? before)!
    const service = `${namespace}/${name}`
    families.set(service, (families.get(service) ?? new Set()).add(family))
  }
  return families
}
