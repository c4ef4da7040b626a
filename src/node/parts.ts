/**
 * Makes the parts of an agent in the order in which they need each other. What a part has to say later it reports as an
 * event; nothing here refers to what is made after it.
 */

import { endpointLoads, readActivity, readConnectionCounts } from '../envoy/program/admin.ts'
import { readLatencies } from '../envoy/program/latencies.ts'
import { adminSocket, canarySocket, type EnvoySockets, type UnixAddress } from '../envoy/program/sockets.ts'
import { sharedListener } from '../envoy/resources/listener.ts'
import { redirectListeners } from '../envoy/resources/redirect.ts'
import type { KernelLayer } from '../kernel/layer.ts'
import { countTcpSockets } from '../kernel/system/connections/sockstat.ts'
import { migratesRequests } from '../kernel/system/sysctl.ts'
import { AccessLog } from '../observe/accesslog/accesslog.ts'
import type { Log } from '../observe/log.ts'
import { budgetOptions, EnvoyBudget } from '../plan/envoy/budget.ts'
import { HeldBack } from '../plan/envoy/heldback.ts'
import { MisnamedPorts } from '../plan/envoy/misnamed.ts'
import { NodePlan } from '../plan/nodeplan.ts'
import { ClusterFacts } from '../services/clusterfacts.ts'
import type { Problem } from '../services/problem.ts'
import type { Source } from '../sources/source.ts'
import { balancedByLatency, slowWatched } from './endpoints/bylatency.ts'
import { CutConnections } from './endpoints/cut-connections.ts'
import { Ejections } from './endpoints/ejections.ts'
import { LastingConnections } from './endpoints/lasting-connections.ts'
import { SlowEndpoints } from './endpoints/slow.ts'
import { VanishedEndpoints } from './endpoints/vanished.ts'
import { shortageIn, startCanary } from './envoy/canary.ts'
import { Endings } from './envoy/endings.ts'
import { EnvoyLayer } from './envoy/envoylayer.ts'
import { OverlaySwitch } from './envoy/overlayswitch.ts'
import { RedirectPort } from './envoy/redirectport.ts'
import { watchStall } from './envoy/stall/stallwatch.ts'
import { XdsEndpoint } from './envoy/xds/endpoint.ts'
import type { Report } from './events.ts'
import { NodeExclusions } from './exclusions/exclusions.ts'
import { UnansweredEndpoints } from './exclusions/unanswered.ts'
import { externalObstacles } from './externalobstacles.ts'
import { frontendOf, frontendsTo } from './frontends.ts'
import { Handovers } from './handovers.ts'
import { HealthCheckPorts } from './health/healthcheckports.ts'
import { SyncHealth } from './health/synchealth.ts'
import { createKernelLayer } from './kernellayer.ts'
import { HttpAnswers } from './misnamed/httpanswers.ts'
import { readMisnamed } from './misnamed/memory.ts'
import { MisnamedWatch } from './misnamed/misnamedwatch.ts'
import type { AgentOptions } from './options.ts'
import type { ClientAddressChoice } from './probes/clientaddress.ts'
import { watchClientAddress } from './probes/clientaddresswatch.ts'
import { localPods, watchPath } from './probes/podpath.ts'
import { Balanced } from './report/metrics/balanced.ts'
import { LostRequests } from './report/owners/lostrequests.ts'
import { LayerMoves } from './report/owners/moves.ts'
import { StayingPorts } from './report/owners/staying.ts'
import { lookUpAddresses } from './system/addresses.ts'
import { PodRules, readPodRules } from './system/podrules.ts'
import { envoySockets } from './system/socketdirectory.ts'
import { ConnectionWatch } from './use/connectionwatch.ts'
import { countInEnvoy } from './use/heaviest.ts'
import { OverloadRelief } from './use/overloadrelief.ts'
import { UseWatch } from './use/usewatch.ts'

/** How long Envoy may take until an acknowledged listener is in all its workers. */
const settleMs = 250
const drainIntervalMs = 5000
const canaryTimes = { intervalMs: 500, startIntervalMs: 50, timeoutMs: 1000, suspectMs: 250, misses: 2, recovery: 60 }
const portIntervalMs = 1000
const gatherMs = 500
const stayingMs = 10_000
const lossCalmMs = 3600e3
/** Long enough for a flood to end, or for its owner to act. */
const overloadHoldMs = 600e3

export interface Reports {
  readonly report: Report
  /** Resolves when the kernel and Envoy have everything. */
  readonly chooseClientAddress: (choice: ClientAddressChoice) => Promise<void>
}

export type AgentParts = ReturnType<typeof createParts>

export function createParts(options: AgentOptions, source: Source, log: Log, reports: Reports) {
  const { nodeName, families } = options
  const { report } = reports
  const onProblems = (origin: string, problems: readonly Problem[]) => report({ type: 'problems', origin, problems })
  const hasAddress = lookUpAddresses()
  const sockets = envoySockets(options)
  const planned = createPlan(options, source, hasAddress)
  const { facts, plan, budget, heldBack, misnamedPorts } = planned

  const kernel = createKernelLayer(options, budget.followsUse, report)
  const xds = new XdsEndpoint({ sockets, envoyUser: options.envoyUser, log, report })
  const redirectPort = new RedirectPort({
    port: options.redirectPort,
    users: () => xds.users,
    everyMs: portIntervalMs,
    onProblems: problems => onProblems('redirect port', problems),
    onChange: () => report({ type: 'redirect port changed' }),
  })
  const endings = new Endings({ ...options, kernel, hasAddress, log })
  const envoy = createEnvoyLayer(options, { kernel, xds, redirectPort, endings, sockets, log }, report)
  const adminSockets = () => adminSocketsOf(envoy, sockets)

  const pods = () => localPods(nodeName, plan)
  const path = watchPath({ ...options, settleMs, envoy, pods, onProblems, log })
  const podRules = new PodRules({
    gatherMs,
    read: () => readPodRules(families, pods()),
    onNew: () => report({ type: 'pods differ' }),
  })
  const onChoice = reports.chooseClientAddress
  const proof = watchClientAddress({ ...options, plan, envoys: envoy.envoys, onChoice })

  const ejections = new Ejections({
    frontendOf: id => envoy.frontendOf(id),
    lbPolicyOf: frontend => envoy.lbPolicyOf(frontend),
    loads: clusters => endpointLoads(adminSockets(), clusters),
    eject: (id, ejected) => envoy.observe(id, { ejected }),
    onEjection: servicePort => report({ type: 'endpoint ejected', servicePort }),
    log,
  })
  const slow = new SlowEndpoints({
    frontends: () => slowWatched(envoy),
    latencies: endpoints => readLatencies(sockets.directory, endpoints),
    eject: (frontend, endpoints) => ejections.slow(frontend, endpoints),
  })
  const balanced = new Balanced({
    ports: () => balancedByLatency(envoy),
    latencies: endpoints => readLatencies(sockets.directory, endpoints),
  })
  const cutConnections = new CutConnections((id, endConnections) => envoy.observe(id, { endConnections }))
  const lastingConnections = new LastingConnections(envoy, () => readConnectionCounts(adminSockets()))
  const exclusions = new NodeExclusions(plan, options.maxExcluded > 0 ? source : {}, log)
  const vanished = new VanishedEndpoints({
    envoyMark: options.envoyMark,
    frontendsTo: endpoint => frontendsTo(plan, endpoint),
    onSilence: endpoint => exclusions.reachability.suspect(endpoint),
    timesOut: endpoint => exclusions.reachability.timesOut(endpoint),
    log,
  })
  const unanswered = new UnansweredEndpoints({ families, suspicions: exclusions, log })
  const accessLog = new AccessLog({
    rate: options.accessLogRate,
    servicePortAt: address => envoy.frontendAt(address),
    write: options.writeAccessLog,
    onRecord: (servicePort, record) => report({ type: 'request logged', servicePort, record }),
    onObservation: (servicePort, record) => report({ type: 'observation', servicePort, record }),
    onLeftOut: servicePort => report({ type: 'request not logged', servicePort }),
    onProblems,
  })
  const use = new UseWatch({
    nodeName,
    budget,
    calls: () => kernel.calls(),
    activity: ids => envoy.activityOf(ids),
    onMoved: ids => report({ type: 'budget moved', ids }),
    log,
  })

  const connections = () => countInEnvoy({ ...options, portAt: (ip, port) => envoy.portAt(ip, port) })
  const overload = new OverloadRelief({
    nodeName,
    heldBack,
    connections,
    onMoved: ids => report({ type: 'budget moved', ids }),
    log,
    holdMs: overloadHoldMs,
  })
  const connectionWatch = new ConnectionWatch({
    limit: () => envoy.envoys.mostConnections,
    sockets: countTcpSockets,
    connections,
    onMany: found => overload.hold(found, 'room for connections'),
  })

  const health = new SyncHealth(families)
  const healthChecks = new HealthCheckPorts({
    families,
    isHealthy: () => health.isHealthy(performance.now()),
    onProblems,
    log,
  })
  const moves = new LayerMoves({
    nodeName,
    frontendOf: id => frontendOf(plan, id),
    isReachable: family => envoy.isPathOpen(family),
    log,
    gatherMs,
  })
  const staying = new StayingPorts({ nodeName, stateOf: id => plan.get(id), log, afterMs: stayingMs })
  const httpAnswers = new HttpAnswers(() => readActivity(adminSockets()))
  const misnamed = new MisnamedWatch({
    known: misnamedPorts,
    stateOf: id => plan.get(id),
    speaksHttp: id => httpAnswers.has(id),
    onMoved: ids => report({ type: 'budget moved', ids }),
    onProblems,
    directory: options.envoySockets,
    log,
  })
  const lostRequests = new LostRequests({ stateOf: id => plan.get(id), onProblems, calmMs: lossCalmMs })
  const overlaySwitch = new OverlaySwitch({ nodeName, onProblems })
  const handovers = new Handovers(service => report({ type: 'handover over', service }))
  return {
    ...{ facts, plan, kernel, xds, redirectPort, endings, envoy, adminSockets, path, podRules, proof },
    ...{ ejections, slow, cutConnections, lastingConnections, vanished, accessLog, use, health, moves, staying },
    ...{ overload, connectionWatch, overlaySwitch, handovers, misnamed, balanced, lostRequests, healthChecks },
    ...{ exclusions, unanswered },
  }
}

function createPlan(options: AgentOptions, source: Source, hasAddress: (ip: string) => boolean) {
  const budget = new EnvoyBudget(budgetOptions({ ...options, tracksUse: options.backend.capabilities.tracksUse }))
  const heldBack = new HeldBack()
  const misnamedPorts = new MisnamedPorts(readMisnamed(options.envoySockets))
  const facts = new ClusterFacts({ tellsPods: source.needPods !== undefined, podRanges: options.clusterCidr })
  const plan = new NodePlan(facts, {
    name: options.nodeName,
    scope: options.services,
    obstacles: externalObstacles(options),
    reserved: { ports: options.reservedPorts, hasAddress },
    limits: { ofService: options.envoyPortsPerService, ofNamespace: options.envoyPortsPerNamespace },
    budget,
    heldBack,
    misnamed: misnamedPorts,
    maxExcluded: options.maxExcluded / 100,
  })
  return { facts, plan, budget, heldBack, misnamedPorts }
}

interface EnvoyNeeds {
  readonly kernel: KernelLayer
  readonly xds: XdsEndpoint
  readonly redirectPort: RedirectPort
  readonly endings: Endings
  readonly sockets: EnvoySockets
  readonly log: Log
}

function createEnvoyLayer(
  options: AgentOptions,
  { kernel, xds, redirectPort, endings, sockets, log }: EnvoyNeeds,
  report: Report,
): EnvoyLayer {
  const { clientAddress, redirectPort: port, families } = options
  const redirecting = redirectListeners({ redirectPort: port, families })
  const envoy: EnvoyLayer = new EnvoyLayer({
    ...options,
    endpointsPerPort: options.envoyEndpointsPerPort,
    latencyDirectory: options.envoySockets,
    settleMs,
    drainMs: options.drainTime,
    drainIntervalMs,
    redirectListeners: redirecting,
    boundListeners: [...redirecting, ...families.map(sharedListener)],
    clientMark: clientMarkOf(clientAddress, options),
    isPortEnvoys: () => redirectPort.isEnvoys(),
    redirect: (addresses, isRedirected) => kernel.setOverlay(addresses, isRedirected),
    clearRedirects: () => kernel.clearOverlay(),
    endConnections: addresses => endings.cut(addresses),
    watchCanary: (instance, onChange) =>
      startCanary({
        socket: canarySocket(sockets, instance),
        ...canaryTimes,
        watchStall: onStalled => watchStall({ ...options, users: () => xds.users, log }, onStalled),
        onChange: answer => {
          onChange(answer)
          const shortage = shortageIn(answer)
          if (shortage) report({ type: 'Envoy overloaded', shortage })
        },
      }),
    handsOver: migratesRequests,
    xds,
    activity: () => readActivity(adminSocketsOf(envoy, sockets)),
    onConnected: () => report({ type: 'Envoy connected' }),
    onMoved: (ids, move) => report({ type: 'frontends moved', ids, move }),
    onProblems: (origin, problems) => report({ type: 'problems', origin, problems }),
    onNack: servicePort => report({ type: 'resource rejected', servicePort }),
    onProgrammed: (id, ms) => report({ type: 'frontend programmed', id, ms }),
    onListening: () => report({ type: 'Envoy listening' }),
    onUp: up => report({ type: 'Envoy up', up }),
  })
  return envoy
}

/** The admin sockets of the Envoys to ask. */
function adminSocketsOf({ envoys }: EnvoyLayer, sockets: EnvoySockets): readonly UnixAddress[] {
  return envoys.instances.map(instance => adminSocket(sockets, instance))
}

/** The options of Envoy's connections from the client's address. */
export function clientMarkOf(
  { mode }: ClientAddressChoice,
  { envoyMark }: Pick<AgentOptions, 'envoyMark'>,
): number | undefined {
  return mode === 'preserve' ? envoyMark : undefined
}
