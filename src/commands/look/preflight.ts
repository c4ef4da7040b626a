import { existsSync } from 'node:fs'
import { backendOf } from '../../kernel/backends.ts'
import { redirectPortsOf } from '../../net/redirectports.ts'
import { createLog } from '../../observe/log.ts'
import type { Check } from '../../preflight/check.ts'
import { checkBudget, checkPolicies, type PlannedPort, plannedPorts } from '../../preflight/cluster.ts'
import { checkNode } from '../../preflight/preflight.ts'
import { formatProblem } from '../../services/problem.ts'
import { askAgent, ofAgent } from '../agent.ts'
import { obstaclesFor, withClientAddress } from '../clientaddress.ts'
import { familiesOf } from '../families.ts'
import type { Config } from '../options.ts'
import { type Output, print } from '../output/print.ts'
import { startProgress } from '../output/progress.ts'
import { paint, table } from '../output/table.ts'
import { patientlyMs, readOnce } from '../read.ts'
import { createSource } from '../source.ts'

const cniDirectory = '/etc/cni/net.d'

interface Report {
  readonly node: string
  readonly checks: readonly Check[]
  /** Undefined where no source was given. */
  readonly services: readonly PlannedPort[] | undefined
  readonly problems: readonly string[]
}

/** Prints the report; the exit code is 1 where something would break traffic. */
export async function preflight(config: Config, output: Output): Promise<void> {
  // Programs may get both outputs as one, as from the log of a pod.
  const progress = startProgress('preflight', output === 'table')
  const report = await gather(config, progress.step).finally(progress.stop)
  print(output, report, render)
  if (report.checks.some(({ outcome }) => outcome === 'fails')) process.exitCode = 1
}

async function gather(given: Config, onStep: (step: string) => void): Promise<Report> {
  const config = await ofAgent({ ...given, socket: ofNode(given.socket) })
  const { redirectPort, adminPort, metricsPort, servicesMetricsPort } = config
  // If a node may find out that it keeps the client's address, its prerequisites are checked.
  const decided = withClientAddress(config, config.clientAddress === 'forwarded-for' ? 'forwarded-for' : 'preserve')
  const backend = backendOf(config.proxyMode)
  const hasAgent = (await askAgent(config.socket, '/status')).kind !== 'dead'
  const checks = await checkNode(
    {
      ...decided,
      backend,
      targetPort: redirectPort,
      families: familiesOf(config),
      ports: [...redirectPortsOf(redirectPort), adminPort, adminPort + 1, metricsPort, servicesMetricsPort],
      hasAgent,
      cniDirectory: ofNode(cniDirectory),
    },
    onStep,
  )
  if (config.source === undefined && config.kubeconfig === undefined) {
    return { node: config.nodeName, checks, services: undefined, problems: [] }
  }
  onStep('Services')
  const source = await createSource(config, createLog('error'), patientlyMs)
  const reading = await readOnce(source, config.nodeName, { scope: config.services, obstacles: obstaclesFor(decided) })
  const services = plannedPorts(reading, backend.capabilities.servesExternal)
  return {
    node: config.nodeName,
    checks: [...checks, checkPolicies(reading.plan.policies), ...checkBudget(services, config.envoyPorts)],
    services,
    problems: reading.problems().map(formatProblem),
  }
}

/** In a pod of `kubectl debug node` the node's file system is at /host. */
function ofNode(path: string): string {
  return existsSync(`/host${path}`) ? `/host${path}` : path
}

const colours = { ok: 'green', warning: 'yellow', fails: 'red' } as const

export function render({ node, checks, services, problems }: Report): string {
  const sections = [
    `${paint('bold', `Node ${node}`)}\n${renderChecks(checks)}`,
    ...(services ? [renderServices(services)] : []),
    ...(problems.length > 0 ? [`${paint('bold', 'Problems')}\n${problems.map(text => `  ${text}`).join('\n')}`] : []),
    verdict(checks),
  ]
  return `${sections.join('\n\n')}\n`
}

function renderChecks(checks: readonly Check[]): string {
  const width = Math.max(...checks.map(({ name }) => name.length))
  return checks
    .map(({ name, outcome, found, remedy }) => {
      const line = `  ${paint(colours[outcome], outcome.padEnd(7))}  ${name.padEnd(width)}  ${found}`
      return remedy === undefined ? line : `${line}\n  ${' '.repeat(7)}  ${' '.repeat(width)}  → ${remedy}`
    })
    .join('\n')
}

function renderServices(services: readonly PlannedPort[]): string {
  const count = (wanted: PlannedPort['layer']) => services.filter(({ layer }) => layer === wanted).length
  const title = `Services: ${count('Envoy')} ports for Envoy, ${count('kernel')} for the kernel, ${count('not served')} not served`
  if (services.length === 0) return paint('bold', title)
  const rows = services.map(({ service, port, vip, layer, external, why }) => [
    service,
    port ?? '-',
    vip ?? '-',
    layer,
    external ?? '-',
    why,
  ])
  return `${paint('bold', title)}\n${table(['SERVICE', 'PORT', 'VIP', 'LAYER', 'EXTERNAL', 'WHY'], rows, '  ')}`
}

function verdict(checks: readonly Check[]): string {
  const count = (wanted: Check['outcome']) => checks.filter(({ outcome }) => outcome === wanted).length
  const [broken, warned] = [count('fails'), count('warning')]
  if (broken > 0) return `${broken} of ${checks.length} checks fail: put that right before Lightpath is installed`
  return warned > 0 ? `nothing that would break traffic; ${warned} warnings` : 'all is well'
}
