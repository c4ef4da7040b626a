import { statsTexts } from '../envoy/admin.ts'
import { placesOf } from '../envoy/ownports.ts'
import { libcProblem } from '../kernel/netlink/libc.ts'
import { Agent } from '../node/agent.ts'
import { explain } from '../node/explain.ts'
import { healthRoutes } from '../node/healthz.ts'
import { startSettings } from '../node/kernelsettings.ts'
import { startRetrying } from '../node/retry.ts'
import { nodeStatus, serviceRows } from '../node/status.ts'
import { translateEnvoyMetrics } from '../observe/envoy-metrics.ts'
import { type Answer, json, type Routes, serveTcp, serveUnix, text } from '../observe/http.ts'
import { createLog, type Log } from '../observe/log.ts'
import { RecentLines } from '../observe/recent.ts'
import { type Note, noteOf } from '../services/note.ts'
import { formatProblem, problem } from '../services/problem.ts'
import { decideForNode, looksForProof, withClientAddress } from './clientaddress.ts'
import { familiesOf } from './families.ts'
import type { Config } from './options.ts'
import { createSource } from './source.ts'

const retryMs = 5000
/** Lines of log and Events that `debug dump` finds: at most some 4 MB, usually 0.3 MB. */
const keptLines = 1000
const keptEvents = 200

/** Runs until SIGTERM or SIGINT. Then Envoy and the kernel keep what they have. */
export async function runNode(given: Config): Promise<void> {
  const missing = libcProblem()
  if (missing) throw new Error(formatProblem(missing))
  const clientAddress = await decideForNode(given)
  const config = withClientAddress(given, clientAddress.mode)
  const kept = { log: new RecentLines(keptLines), events: new RecentLines(keptEvents) }
  const log = createLog(config.logLevel, kept.log)
  // The test of the path is made with nftables.
  const pathTest = config.pathTest && config.redirect === 'nftables'
  const agent = new Agent(
    {
      ...config,
      clientAddress,
      provesClientAddress: looksForProof(given),
      pathTest,
      families: familiesOf(config),
      reservedPorts: reservedPorts(config),
    },
    await createSource(config, log),
    log,
  )
  const servers = [
    startServer(agent, `metrics on port ${config.metricsPort}`, () =>
      serveTcp(
        publicRoutes(agent),
        { address: config.metricsAddress ?? everyAddress(config), port: config.metricsPort },
        log,
      ),
    ),
    ...startHealthServer(agent, config, log),
    ...startKubeProxyServer(agent, config, log),
    startServer(agent, `socket ${config.socket}`, () =>
      serveUnix(privateRoutes(agent, config, kept), config.socket, log),
    ),
  ]
  const events = await recordEvents(agent, config, log, kept.events)
  await agent.start()
  // Only with our tables there the kernel is sure to have conntrack.
  const settings = startSettings(config, (origin, problems) => agent.problems.set(origin, problems))
  log.info(
    { clientAddress: clientAddress.why, node: config.nodeName, source: config.source ?? 'Kubernetes API' },
    'agent started',
  )

  await terminated()
  log.info({}, 'agent stops; Envoy and the kernel go on with what they have')
  await agent.stop()
  await settings.stop()
  await events?.stop()
  for (const server of servers) await (await server.stop())?.stop()
}

/** Where Services come from a directory there is nobody to tell: Events are only kept. Then undefined. */
async function recordEvents(agent: Agent, config: Config, log: Log, kept: RecentLines) {
  const recorder = config.source === undefined ? await createRecorder(agent, config, log) : undefined
  const tell = (note: Note) => {
    kept.add(JSON.stringify({ time: new Date(), ...note }))
    recorder?.record(note)
  }
  agent.problems.tell(problem => tell(noteOf(problem)))
  agent.moves.tell(tell)
  return recorder
}

async function createRecorder(agent: Agent, { kubeconfig, nodeName }: Config, log: Log) {
  const { EventRecorder } = await import('../sources/events.ts')
  const uidOf = (namespace: string, name: string) => agent.table.service(namespace, name)?.uid
  return new EventRecorder({ kubeconfig, nodeName, uidOf, log })
}

function startServer<T extends { stop(): Promise<void> }>(agent: Agent, name: string, start: () => Promise<T>) {
  return startRetrying({
    start,
    everyMs: retryMs,
    problem: error =>
      problem('LP501', name, error.message, 'all else works; stop that process or choose another, it is tried again'),
    onProblems: problems => agent.problems.set(name, problems),
  })
}

/** Where the agent and its Envoys listen, whatever address they do it on. */
function reservedPorts(config: Config): ReadonlySet<number> {
  const { redirectPort, adminPort, canaryPort, xdsPort, metricsPort, metricsBindAddress } = config
  const envoys = [redirectPort, ...placesOf({ adminPort, canaryPort }).flatMap(ports => Object.values(ports))]
  const others = [healthAddress(config), metricsBindAddress].map(where => (where === 'none' ? [] : [where.port]))
  return new Set([...envoys, xdsPort, metricsPort, ...others.flat()])
}

function healthAddress(config: Config) {
  const usual = config.services === 'labelled' ? 'none' : { address: everyAddress(config), port: 10256 }
  return config.healthzBindAddress ?? usual
}

function startHealthServer(agent: Agent, config: Config, log: Log) {
  const where = healthAddress(config)
  if (where === 'none') return []
  const routes = healthRoutes({
    health: agent.health,
    isNodeEligible: () => isNodeEligible(agent, config),
    answered: agent.kubeProxyMetrics.answered,
  })
  return [startServer(agent, `healthz on port ${where.port}`, () => serveTcp(routes, where, log))]
}

function everyAddress(config: Config): string {
  return familiesOf(config).includes('IPv6') ? '::' : '0.0.0.0'
}

/** What kube-proxy has on its port 10249. */
function startKubeProxyServer(agent: Agent, config: Config, log: Log) {
  const where = config.metricsBindAddress
  if (where === 'none') return []
  const routes: Routes = {
    '/metrics': publicRoutes(agent)['/metrics']!,
    '/healthz': () => plain('ok'),
    '/proxyMode': () => plain(config.redirect),
  }
  return [startServer(agent, `metrics on port ${where.port}`, () => serveTcp(routes, where, log))]
}

/** Without a newline at its end. */
function plain(body: string): Answer {
  return { ...text(200, ''), body }
}

/** The API says of every node that it is there; a directory of manifests need not say anything of it. */
function isNodeEligible({ table, isSynced }: Agent, { source }: Config): boolean {
  if (table.node) return !table.node.leaving
  return source !== undefined || !isSynced
}

function publicRoutes(agent: Agent): Routes {
  return {
    '/metrics': async () => {
      const own = await agent.metrics.registry.metrics()
      const ofEnvoy = translateEnvoyMetrics(await statsTexts(agent.envoy.envoys.adminPorts))
      return { status: 200, contentType: agent.metrics.registry.contentType, body: own + ofEnvoy }
    },
    '/healthz': () => text(200, 'ok'),
    '/readyz': () => (agent.isSynced ? text(200, 'ok') : text(503, 'the source has not told all Services yet')),
  }
}

function privateRoutes(agent: Agent, config: Config, kept: Readonly<Record<'log' | 'events', RecentLines>>): Routes {
  return {
    '/log': () => plain(kept.log.text()),
    '/events': () => plain(kept.events.text()),
    '/explain': async query => {
      const service = query.get('service') ?? ''
      const [namespace = '', name = ''] = service.split('/')
      const explanation = await explain(agent, config.nodeName, namespace, name)
      return explanation ? json(200, explanation) : text(404, unknownService(agent, service, name))
    },
    '/config': () => json(200, config),
    '/states': () => json(200, [...agent.table.states()]),
    '/metrics': publicRoutes(agent)['/metrics']!,
    '/status': () => json(200, nodeStatus(agent, config.nodeName)),
    '/services': query => json(200, serviceRows(agent, query.get('namespace') ?? undefined)),
  }
}

function unknownService(agent: Agent, service: string, name: string): string {
  const similar = agent.table
    .names()
    .filter(known => known.endsWith(`/${name}`) || (name !== '' && known.includes(name)))
  const hint = similar.length > 0 ? `did you mean ${similar.slice(0, 5).join(' or ')}?` : 'is it in the source?'
  return `there is no Service ${service}; ${hint}`
}

function terminated(): Promise<void> {
  return new Promise(resolve => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve())
  })
}
