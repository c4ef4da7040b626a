import { backendOf } from '../../kernel/backends.ts'
import { libcProblem } from '../../kernel/netlink/libc.ts'
import { redirectPortsOf } from '../../net/redirectports.ts'
import { Agent } from '../../node/agent.ts'
import { watchBlockingChains } from '../../node/foreign/chains.ts'
import { watchForeignMarks } from '../../node/foreign/marks.ts'
import { keepSettings, settingsGroups } from '../../node/system/kernelsettings.ts'
import { giveMemoryBack } from '../../node/system/memory.ts'
import { createLog, type Log, standardOutput } from '../../observe/log.ts'
import { RecentLines } from '../../observe/recent.ts'
import { findMarkUses } from '../../preflight/marks.ts'
import { type Note, noteOf } from '../../services/note.ts'
import { formatProblem, type Problem } from '../../services/problem.ts'
import { decideForNode, looksForProof, withClientAddress } from '../clientaddress.ts'
import { familiesOf } from '../families.ts'
import type { Config } from '../options.ts'
import { createSource } from '../source.ts'
import { healthAddress, startServers } from './serving/servers.ts'

/** How many lines of log and Events `debug dump` finds: at most some 4 MB, usually 0.3 MB. */
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
  const backend = backendOf(config.proxyMode)
  // The path test is made with nf_tables.
  const pathTest = config.pathTest && backend.capabilities.needsNfTables
  const agent = new Agent(
    {
      ...config,
      backend,
      clientAddress,
      provesClientAddress: looksForProof(given),
      pathTest,
      families: familiesOf(config),
      reservedPorts: reservedPorts(config),
      writeAccessLog: standardOutput(),
    },
    await createSource(config, log),
    log,
  )
  const servers = startServers(agent, config, log, kept)
  const events = await recordEvents(agent, config, log, kept.events)
  await agent.start()
  // Only with our tables there the kernel is sure to have conntrack.
  const settings = keepSettings(settingsGroups(config), config.nodeName, (origin, problems) =>
    agent.problems.set(origin, problems),
  )
  const watch = {
    nodeName: config.nodeName,
    onProblems: (origin: string, problems: readonly Problem[]) => agent.problems.set(origin, problems),
  }
  const marks = watchForeignMarks({ ...watch, read: () => findMarkUses(config) })
  const chains = watchBlockingChains(watch)
  const memory = giveMemoryBack()
  log.info({ clientAddress: clientAddress.why, node: config.nodeName, source: sourceName(config) }, 'agent started')

  await terminated()
  log.info({}, 'agent stops; Envoy and the kernel go on with what they have')
  await agent.stop()
  await settings.stop()
  await marks.stop()
  await chains.stop()
  memory.stop()
  await events?.stop()
  for (const server of servers) await (await server.stop())?.stop()
}

/** Undefined where Services come from a directory: nobody gets Events then, and they are only kept. */
async function recordEvents(agent: Agent, config: Config, log: Log, kept: RecentLines) {
  const recorder = config.source === undefined ? await createRecorder(agent, config, log) : undefined
  const tell = (note: Note) => {
    kept.add(JSON.stringify({ time: new Date(), ...note }))
    recorder?.record(note)
  }
  agent.problems.tell(problem => tell(noteOf(problem)))
  agent.moves.tell(tell)
  agent.staying.tell(tell)
  agent.use.tell(tell)
  agent.overload.tell(tell)
  return recorder
}

async function createRecorder(agent: Agent, { kubeconfig, nodeName }: Config, log: Log) {
  const { EventRecorder } = await import('../../sources/events.ts')
  const uidOf = (_kind: string, namespace: string, name: string) => agent.facts.services.service(namespace, name)?.uid
  return new EventRecorder({ kubeconfig, host: nodeName, uidOf, log })
}

function sourceName({ source, controlPlanes }: Config): string {
  return source ?? (controlPlanes.length > 0 ? 'control plane' : 'Kubernetes API')
}

/** The ports where the agent and its Envoys listen, whatever the address. */
function reservedPorts(config: Config): ReadonlySet<number> {
  const { redirectPort, adminPort, metricsPort, servicesMetricsPort, metricsBindAddress } = config
  const others = [healthAddress(config), metricsBindAddress].map(where => (where === 'none' ? [] : [where.port]))
  return new Set([
    ...redirectPortsOf(redirectPort),
    adminPort,
    adminPort + 1,
    metricsPort,
    servicesMetricsPort,
    ...others.flat(),
  ])
}

function terminated(): Promise<void> {
  return new Promise(resolve => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve())
  })
}
