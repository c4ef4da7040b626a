/**
 * The kernel layer against kube-proxy's in nftables mode: the same API server, the same Services, a node for each, since
 * nft reads all tables that there are. How long one change takes to be in the kernel.
 */

import { randomInt } from 'node:crypto'
import type { LabNode, Network } from '../../src/lab/network.ts'
import type { Child } from '../../src/lab/processes.ts'
import { pause, waitFor } from '../../src/lab/wait.ts'
import { ControlPlane } from '../lab/control-plane.ts'
import { Cluster, type Size, type SliceChange } from '../lab/generate.ts'
import { type JsonLog, type LogLine, programmedIn, startAgent } from '../lab/node.ts'
import type { Report } from '../runner/experiment.ts'
import { aim, figure, median, p } from '../runner/statistics.ts'

export interface SyncOptions {
  /** Of each side. */
  readonly changes: number
  /** So many changes of one side, then as many of the other, while the one waits stopped. */
  readonly perTurn: number
}

export interface Side {
  readonly process: Child
  readonly log: JsonLog
  /** The line that says that a change of this port is in the kernel. */
  readonly isDone: (line: LogLine, portId: string) => boolean
  /** How long that line says that it took, or another of the same change. */
  readonly took: (lines: readonly LogLine[], id: string) => number
  /** How many elements the line says to be in the kernel more; all there are where it says that all is. */
  readonly elementsIn: (line: LogLine) => number
  /** How long the transaction of the kernel took of that, where it is known. */
  readonly transaction?: (lines: readonly LogLine[]) => number
}

interface Change {
  /** From the API server's answer until it is in the kernel, milliseconds. */
  readonly total: number
  /** Of that, the proxy's own work: reading what changed, writing it to the kernel. */
  readonly sync: number
  /** Of that, the program nft. */
  readonly transaction?: number | undefined
}

const kinds: readonly SliceChange[] = ['replace', 'add', 'remove']

/**
 * Leaves Lightpath's table on node1 and kube-proxy's on node2.
 * @param more objects beside those of this size
 */
export async function measureSync(
  network: Network,
  size: Size,
  options: SyncOptions,
  more: readonly object[],
): Promise<Report> {
  const [node1, node2] = network.nodes as readonly [LabNode, LabNode]
  const plane = await ControlPlane.start(network, node1)
  const cluster = new Cluster(size)
  await plane.load(cluster, more)
  const sides = { lightpath: await lightpath(network, node1, plane), kubeProxy: await kubeProxy(node2, plane) }
  for (const side of Object.values(sides)) await settled(side)

  const changes = { lightpath: [] as Change[], kubeProxy: [] as Change[] }
  for (let done = 0; done < options.changes; done += options.perTurn) {
    for (const name of ['lightpath', 'kubeProxy'] as const) {
      const other = sides[name === 'lightpath' ? 'kubeProxy' : 'lightpath']
      other.process.kill('SIGSTOP')
      for (let turn = 0; turn < options.perTurn; turn++) {
        changes[name].push(await change(plane, cluster, sides[name], kinds[turn % kinds.length]!))
        await pause(randomInt(20, 60))
      }
      other.process.kill('SIGCONT')
      await settled(other)
    }
  }
  for (const { process } of Object.values(sides)) await process.stop()
  return report(size, changes)
}

export async function lightpath(network: Network, node: LabNode, plane: ControlPlane): Promise<Side> {
  const { process, log } = await startAgent(network, node, ['--kubeconfig', plane.kubeconfig])
  return {
    process,
    log,
    elementsIn: ({ msg, added, removed }) =>
      msg === 'nftables transaction' ? (added as number) - (removed as number) : 0,
    isDone: (line, id) => line.layer === 'kernel' && programmedIn(line, id) !== undefined,
    took: (lines, id) => lines.flatMap(line => (line.layer === 'kernel' ? (programmedIn(line, id) ?? []) : []))[0]!,
    transaction: lines => lines.find(({ msg }) => msg === 'nftables transaction')!.milliseconds as number,
  }
}

export async function kubeProxy(node: LabNode, plane: ControlPlane): Promise<Side> {
  const isSync = ({ msg, ipFamily }: LogLine) => msg === 'SyncProxyRules complete' && ipFamily === 'IPv4'
  return {
    ...(await plane.startKubeProxy(node)),
    // It waits for all that there is before the first.
    elementsIn: line => (isSync(line) ? Number.POSITIVE_INFINITY : 0),
    isDone: isSync,
    took: lines => parseGoDuration(lines.find(isSync)!.elapsed as string),
  }
}

/** Has written all that there was to write: nothing has been logged for a while. */
async function settled({ log }: Side): Promise<void> {
  const quietMs = 5000
  let last = Date.now()
  const isQuiet = () => {
    if (log.take().length > 0) last = Date.now()
    return Date.now() - last > quietMs
  }
  await waitFor('the proxy to come to rest', 300_000, isQuiet, 200)
}

export async function change(
  plane: ControlPlane,
  cluster: Cluster,
  side: Side,
  kind: SliceChange,
  limitMs = 60_000,
): Promise<Change> {
  const number = randomInt(cluster.size.services)
  const id = cluster.portId(number)
  cluster.change(number, kind)
  side.log.take()
  const told = await plane.replace(cluster.slice(number))
  const lines: LogLine[] = []
  const isDone = () => {
    lines.push(...side.log.take())
    return lines.find(line => side.isDone(line, id))
  }
  const { at } = await waitFor('the change in the kernel', limitMs, isDone, 5)
  return { total: at - told, sync: side.took(lines, id), transaction: side.transaction?.(lines) }
}

/** `1.234s`, `12.3ms`, `456µs` in milliseconds. */
function parseGoDuration(text: string): number {
  const [, value, unit] = /^([\d.]+)(s|ms|µs)$/.exec(text) ?? []
  return Number(value) * ({ s: 1000, ms: 1, µs: 1e-3 }[unit!] ?? Number.NaN)
}

function report(size: Size, { lightpath, kubeProxy }: Readonly<Record<'lightpath' | 'kubeProxy', Change[]>>): Report {
  const row = (what: string, of: (changes: readonly Change[]) => number, aims: (ratio: number) => string) => {
    const [ours, theirs] = [of(lightpath), of(kubeProxy)]
    return [what, `${figure(ours)} ms`, `${figure(theirs)} ms`, figure(ours / theirs), aims(ours / theirs)]
  }
  const sync = (changes: readonly Change[]) => changes.map(one => one.sync)
  const total = (changes: readonly Change[]) => changes.map(one => one.total)
  const transactions = lightpath.map(one => one.transaction!)
  const services = size.services.toLocaleString('en')
  return {
    title: `One EndpointSlice changes among ${services} Services: Lightpath against kube-proxy (nftables), by the API`,
    header: ['', 'Lightpath', 'kube-proxy', 'ratio', 'aim'],
    rows: [
      row(
        'from its arrival until it is in the kernel, p50',
        its => median(sync(its)),
        ratio => aim('a tenth', ratio <= 0.1),
      ),
      row(
        '  p99',
        its => p(sync(its), 99),
        () => '',
      ),
      [
        '  of that the transaction, p50',
        `${figure(median(transactions))} ms`,
        '',
        '',
        aim('20 ms', median(transactions) <= 20),
      ],
      ['  p99', `${figure(p(transactions, 99))} ms`, '', '', aim('50 ms', p(transactions, 99) <= 50)],
      row(
        "from the API server's answer, p50",
        its => median(total(its)),
        () => aim('3 ms', median(total(lightpath)) <= 3),
      ),
      row(
        '  p99',
        its => p(total(its), 99),
        () => aim('10 ms', p(total(lightpath), 99) <= 10),
      ),
    ],
    notes: [
      `${lightpath.length} changes each, in turns; kube-proxy as it comes: it gathers changes for a second, of which the first two rows count nothing`,
    ],
    data: { size, lightpath, kubeProxy },
  }
}
