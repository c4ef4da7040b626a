/**
 * The kernel layer alone, at the sizes at which kube-proxies in the field took a quarter of an hour for one sync
 * (kubernetes#139513, #135639): how long the kernel takes to get all, how long for one change, and how long this process's
 * event loop stands still meanwhile. What is read and planned before is not counted.
 */

import { monitorEventLoopDelay } from 'node:perf_hooks'
import { withNftables } from '../../src/kernel/nftables/client.ts'
import { tableOf } from '../../src/kernel/nftables/rules/ruleset.ts'
import { KernelTables } from '../../src/kernel/nftables/sync/table.ts'
import { testOptions } from '../../src/kernel/testing/states.ts'
import { netnsPath } from '../../src/lab/leftovers.ts'
import type { LabNode, Network } from '../../src/lab/network.ts'
import { NodePlan } from '../../src/plan/nodeplan.ts'
import type { PortState } from '../../src/plan/ports/port.ts'
import { ClusterFacts } from '../../src/services/clusterfacts.ts'
import type { Change } from '../../src/services/objects/objects.ts'
import { parseObject } from '../../src/services/parse/parse.ts'
import { Cluster, type Size, type SliceChange } from '../lab/generate.ts'
import type { Report } from '../runner/experiment.ts'
import { aim, figure, median, p, spread } from '../runner/statistics.ts'

export interface KernelLayerOptions {
  readonly sizes: readonly Size[]
  /** Times that each size is loaded from nothing. */
  readonly rounds: number
  /** Of one EndpointSlice each and of each kind, after each load. */
  readonly changes: number
}

/** One load from nothing, and what followed; milliseconds. */
interface Load {
  /** From the word that all is known until all is in the kernel. */
  readonly wall: number
  /** Of that in transactions, with their encoding. */
  readonly transactions: number
  readonly longest: number
  readonly count: number
  readonly loopDelay: number
  /** CPU time of a new run that reads and compares all, and has nothing to write. */
  readonly restart: number
  /** CPU time of the periodic comparison of all that the kernel has with all that was written. */
  readonly comparison: number
  /** A pod is replaced by another. */
  readonly replaced: Changes
  /** One pod more, then one less. */
  readonly resized: Changes
}

interface Changes {
  /** Each change's transaction, and the time from the change of its port state until it is in the kernel. */
  readonly transactions: readonly number[]
  readonly wall: readonly number[]
}

export async function measureKernelLayer(network: Network, options: KernelLayerOptions): Promise<Report> {
  const loads: Load[][] = options.sizes.map(() => [])
  for (let round = 0; round < options.rounds; round++) {
    for (const [index, size] of options.sizes.entries()) {
      loads[index]!.push(await load(network.nodes[0]!, size, options.changes))
    }
  }
  return report(options.sizes, loads)
}

async function load(node: LabNode, size: Size, changes: number): Promise<Load> {
  const netns = netnsPath(node.netns)
  const cluster = new Cluster(size)
  const facts = new ClusterFacts()
  const plan = new NodePlan(facts, { name: node.name })
  const numbers = Array.from({ length: size.services }, (_, number) => number)
  plan.apply(facts.apply(numbers.flatMap(number => [cluster.service(number), cluster.slice(number)].map(put))))
  const states = [...plan.states()]

  const transactions: number[] = []
  const tables = await start(netns, states, milliseconds => transactions.push(milliseconds))
  const delay = monitorEventLoopDelay({ resolution: 1 })
  delay.enable()
  const began = performance.now()
  tables.synced()
  await tables.settled()
  const wall = performance.now() - began
  delay.disable()
  const loaded = transactions.splice(0)

  const change = async (number: number, kind: SliceChange) => {
    cluster.change(number, kind)
    plan.apply(facts.apply([put(cluster.slice(number))]))
    const state = plan.get(cluster.portId(number))!
    const changed = performance.now()
    tables.setPort(state)
    await tables.settled()
    return performance.now() - changed
  }
  const measureChanges = async (kinds: readonly SliceChange[]): Promise<Changes> => {
    const wall: number[] = []
    for (let done = 0; done < changes; done++) {
      const number = (Math.floor(done / kinds.length) * 7919) % size.services
      wall.push(await change(number, kinds[done % kinds.length]!))
    }
    return { transactions: transactions.splice(0), wall }
  }
  const replaced = await measureChanges(['replace'])
  const resized = await measureChanges(['add', 'remove'])
  await tables.close()

  const again = await start(netns, [...plan.states()], () => {})
  const restart = await cpuTimeOf(async () => {
    again.synced()
    await again.settled()
  })
  const comparison = await cpuTimeOf(() => again.compare())
  await again.close()
  await withNftables(netns, async nft => {
    for (const family of ['ip', 'ip6'] as const) await nft.deleteTable(tableOf(family))
  })
  return {
    wall,
    transactions: loaded.reduce((sum, each) => sum + each, 0),
    longest: Math.max(...loaded),
    count: loaded.length,
    loopDelay: delay.max / 1e6,
    restart,
    comparison,
    replaced,
    resized,
  }
}

/** Milliseconds of this process. */
async function cpuTimeOf(work: () => Promise<void>): Promise<number> {
  const before = process.cpuUsage()
  await work()
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1000
}

function put(raw: object): Change {
  return { type: 'put', object: parseObject(raw).object! }
}

async function start(
  netns: string,
  states: readonly PortState[],
  onTransaction: (milliseconds: number) => void,
): Promise<KernelTables> {
  const options = { ...testOptions, netns, prefix: ['nsenter', `--net=${netns}`] }
  const tables = new KernelTables(options, { flushed: ({ milliseconds }) => onTransaction(milliseconds) })
  await tables.start()
  for (const state of states) tables.setPort(state)
  return tables
}

function report(sizes: readonly Size[], loads: readonly (readonly Load[])[]): Report {
  /** @param limited how many of the sizes, from the first on, have the limit */
  const row = (what: string, of: (load: Load) => number, limit?: number, limited = sizes.length) => {
    const values = loads.map(rounds => median(rounds.map(of)))
    const where = limited < sizes.length ? `, ${figure(sizes[0]!.services)} Services` : ''
    const met =
      limit === undefined
        ? ''
        : aim(
            `≤ ${limit} ms${where}`,
            values.slice(0, limited).every(value => value <= limit),
          )
    return [what, ...loads.map(rounds => `${spread(rounds.map(of))} ms`), met]
  }
  const changeRows = (what: string, of: (load: Load) => Changes) => [
    row(`${what}: transaction, p50`, load => p(of(load).transactions, 50), 0.05),
    row('  p99', load => p(of(load).transactions, 99), 0.5),
    row('  from the port to the kernel, p50', load => p(of(load).wall, 50)),
    row('  p99', load => p(of(load).wall, 99)),
  ]
  return {
    title: 'Kernel layer alone: from what is known to what is in the kernel',
    header: ['', ...sizes.map(({ services, endpoints }) => `${figure(services)} Services of ${endpoints}`), 'aim'],
    rows: [
      row('all in the kernel after', load => load.wall, 10_000),
      row('  of that in transactions', load => load.transactions),
      row('  the longest of them', load => load.longest),
      row('  the event loop stood still, at most', load => load.loopDelay, 20),
      ...changeRows('one endpoint replaced', load => load.replaced),
      ...changeRows('one endpoint more or less', load => load.resized),
      row('an agent that starts again finds all: CPU time', load => load.restart),
      row('the periodic comparison of all: CPU time', load => load.comparison, 500, 1),
    ],
    notes: [
      `medians of ${loads[0]!.length} loads; ${loads[0]![0]!.replaced.wall.length} changes of each kind after each`,
    ],
    data: { sizes, loads },
  }
}
