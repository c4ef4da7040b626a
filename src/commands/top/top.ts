import { existsSync } from 'node:fs'
import { readLatencies } from '../../envoy/program/latencies.ts'
import { adminSocket, instances } from '../../envoy/program/sockets.ts'
import type { FrontendRow } from '../../node/report/answers/frontends.ts'
import { envoySockets } from '../../node/system/socketdirectory.ts'
import type { Report, Watching } from '../../top/report.ts'
import { askLivingAgent } from '../agent.ts'
import { familiesOf } from '../families.ts'
import type { Config } from '../options.ts'
import { type Output, shown } from '../output/print.ts'
import { startProgress } from '../output/progress.ts'
import { requireNetAdmin } from '../privilege.ts'
import { UsageError } from '../usage.ts'
import { render } from './render.ts'

export interface TopOptions {
  /** `NAMESPACE` or `NAMESPACE/NAME`. */
  readonly chosen: string | undefined
  /** Seconds, as given. */
  readonly interval: string
  /** How many reports, as given; undefined for as many as there are until somebody ends it. */
  readonly times: string | undefined
  /** Ends when standard input does: a client of `exec` can end it in no other way. */
  readonly isAttached: boolean
  readonly output: Output
}

/**
 * Shows this node, where an agent has its socket here, else all nodes by the kubeconfig, which also counts where it is
 * given.
 * JSON is a line for each report.
 */
export async function top(config: Config, { chosen, output, ...options }: TopOptions): Promise<void> {
  const intervalMs = intervalOf(options.interval) * 1000
  const times = timesOf(options.times)
  if (chosen !== undefined && !/^[a-z0-9-]+(\/[a-z0-9-]+)?$/.test(chosen))
    throw new UsageError(`${JSON.stringify(chosen)} is not NAMESPACE or NAMESPACE/NAME`)
  const ended = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => ended.abort())
  if (options.isAttached) process.stdin.on('end', () => ended.abort()).resume()
  // The reader has gone, as `head` does.
  process.stdout.on('error', () => ended.abort())
  const progress = startProgress('top', output === 'table')
  const watching = { intervalMs, chosen, signal: ended.signal }
  const isOfNode = config.kubeconfig === undefined && existsSync(config.socket)
  progress.step(isOfNode ? 'the traffic of this node' : 'the traffic of all nodes')
  let left = times
  try {
    for await (const report of isOfNode ? ofNode(config, watching) : ofCluster(config, watching)) {
      progress.stop()
      write(report, output, chosen, times)
      if (report.nodes.every(({ error }) => error !== undefined) && times === 1) process.exitCode = 1
      if (--left === 0) break
    }
  } finally {
    progress.stop()
    ended.abort()
    process.stdin.pause()
  }
}

async function* ofNode({ socket }: Config, watching: Watching): AsyncGenerator<Report> {
  requireNetAdmin('top')
  const agents = await askLivingAgent<Config>(socket, '/config')
  const sockets = envoySockets(agents)
  const { watchNode } = await import('../../top/nodewatch.ts')
  const namespace = watching.chosen?.split('/')[0]
  const query = namespace === undefined ? '' : `?namespace=${encodeURIComponent(namespace)}`
  yield* watchNode(
    agents.nodeName,
    {
      frontends: () => askLivingAgent<readonly FrontendRow[]>(socket, `/frontends${query}`),
      adminSockets: instances.map(instance => adminSocket(sockets, instance)),
      latencies: endpoints => readLatencies(sockets.directory, endpoints),
      families: familiesOf(agents),
      steeringMark: agents.steeringMark,
      redirectPort: agents.redirectPort,
    },
    watching,
  )
}

async function* ofCluster({ kubeconfig }: Config, watching: Watching): AsyncGenerator<Report> {
  const [{ loadKubeConfig }, { kubernetesApi }, { watchCluster }] = await Promise.all([
    import('../../sources/kube-config.ts'),
    import('../../cluster/api.ts'),
    import('../../top/clusterwatch.ts'),
  ])
  yield* watchCluster(kubernetesApi(kubeconfig), loadKubeConfig(kubeconfig), watching)
}

const clearScreen = '\u001b[H\u001b[J'

function write(report: Report, output: Output, chosen: string | undefined, times: number): void {
  if (output === 'json') return void process.stdout.write(shown('line', report, () => ''))
  const { isTTY, columns, rows } = process.stdout
  const isLive = isTTY && times !== 1
  const size = isTTY ? { columns, rows: isLive ? rows : undefined } : {}
  const text = shown('table', report, value => render(value, chosen, size))
  process.stdout.write(isLive ? `${clearScreen}${text}` : times === 1 ? text : `${text}\n`)
}

function intervalOf(text: string): number {
  const seconds = Number(text)
  if (!/^\d{1,4}(\.\d+)?$/.test(text) || seconds < 0.5)
    throw new UsageError(`--interval is ${JSON.stringify(text)}, which is not a number of seconds from 0.5 up`)
  return seconds
}

function timesOf(text: string | undefined): number {
  if (text === undefined) return Number.POSITIVE_INFINITY
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new UsageError(`--times is ${JSON.stringify(text)}, which is not a number`)
  return Number(text)
}
