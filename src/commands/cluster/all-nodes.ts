import { type Ask, kubernetesApi } from '../../cluster/api.ts'
import { list } from '../../cluster/list.ts'
import { namespace } from '../../cluster/namespace.ts'
import { imageOf } from '../../cluster/objects.ts'
import { type NodeReport, type ProbeOptions, probeNodes } from '../../preflight/nodes/probe.ts'
import { ApiError } from '../../sources/api-server.ts'
import { imageOnNodes } from '../../uninstall/found.ts'
import { type Config, flagOf, type OptionName } from '../options.ts'
import { findings } from '../output/findings.ts'
import { type Output, print } from '../output/print.ts'
import { startProgress } from '../output/progress.ts'
import { table } from '../output/table.ts'
import { UsageError } from '../usage.ts'

export interface AllNodesOptions {
  readonly image: string | undefined
  /** Seconds, as given. */
  readonly timeout: string
  /** Flags as given, by the name of their option. */
  readonly given: Readonly<Record<string, unknown>>
  readonly output: Output
}

/** Options of this machine, or of one node. */
const notForPods: readonly OptionName[] = ['nodeName', 'kubeconfig', 'source', 'socket']
const mayNot =
  'looking at all nodes takes the rights to list nodes, to create and delete namespaces, and to create and get pods and get their logs in them'

/** The exit code is 1 where something would break traffic, or a node could not be checked. */
export async function preflightAllNodes(config: Config, options: AllNodesOptions): Promise<void> {
  const { given, output } = options
  const seconds = Number(options.timeout)
  if (!/^\d{1,5}$/.test(options.timeout) || seconds === 0)
    throw new UsageError(`--timeout is ${JSON.stringify(options.timeout)}, which is not a number of seconds`)
  const local = ['config', 'source'].find(name => given[name] !== undefined)
  if (local)
    throw new UsageError(`--${local} is of this machine and does not reach the nodes; give flags with --all-nodes`)
  const ask = kubernetesApi(config.kubeconfig)
  const interrupted = new AbortController()
  const interrupt = () => interrupted.abort()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, interrupt)
  const progress = startProgress('preflight', output === 'table')
  progress.step('the nodes')
  try {
    const probe: ProbeOptions = {
      image: options.image ?? (await knownImage(ask)),
      flags: flagsOf(given),
      timeoutMs: seconds * 1000,
      signal: interrupted.signal,
      onStep: progress.step,
    }
    const reports = await probeNodes(ask, probe)
    print(output, reports, render)
    if (!reports.every(isFit)) process.exitCode = 1
  } catch (error) {
    if (error instanceof ApiError && error.code === 403) throw new Error(`${error.message}; ${mayNot}`)
    throw error
  } finally {
    progress.stop()
  }
}

/** The image of the agents, where they are there already, or one that nodes have. */
async function knownImage(ask: Ask): Promise<string> {
  const path = `/apis/apps/v1/namespaces/${namespace}/daemonsets/lightpath-node`
  const daemonSet = await ask('GET', path).catch((error: Error) => {
    if (error instanceof ApiError && error.code === 404) return {}
    throw error
  })
  const image = imageOf(daemonSet)
  if (image !== undefined) return image
  const loaded = imageOnNodes(await list(ask, '/api/v1/nodes'))
  if (loaded !== undefined) return loaded
  throw new UsageError(
    'name the image of Lightpath, as the nodes can pull it or have it, by --image; neither agents nor nodes tell of one',
  )
}

function flagsOf(given: Readonly<Record<string, unknown>>): readonly string[] {
  const own = ['allNodes', 'image', 'timeout', 'output', 'config', ...notForPods]
  return Object.entries(given).flatMap(([name, value]) =>
    own.includes(name) || value === undefined ? [] : [`${flagOf(name as OptionName)}=${String(value)}`],
  )
}

function isFit(report: NodeReport): boolean {
  return 'checks' in report && report.checks.every(({ outcome }) => outcome !== 'fails')
}

/** A line for each node, then each finding once, with the nodes that have it. */
export function render(reports: readonly NodeReport[]): string {
  const nodes = table(
    ['NODE', 'RESULT'],
    reports.map(report => [report.node, resultOf(report)]),
  )
  const details = findings(reports.flatMap(report => ('checks' in report ? [report] : [])))
  const fit = reports.filter(isFit).length
  return `${[nodes, ...details, `${fit} of ${reports.length} nodes are fit for Lightpath`].join('\n\n')}\n`
}

function resultOf(report: NodeReport): string {
  if ('error' in report) return `not looked at: ${report.error}`
  const count = (wanted: 'warning' | 'fails') => report.checks.filter(({ outcome }) => outcome === wanted).length
  const [broken, warned] = [count('fails'), count('warning')]
  if (broken > 0) return `${broken} of ${report.checks.length} checks fail`
  return warned > 0 ? `fit, ${warned} warnings` : 'fit'
}
