/** How long a node takes from nothing to every Service in both layers, and what memory that costs. */

import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { LabNode, Network } from '../../src/lab/network.ts'
import type { Child } from '../../src/lab/processes.ts'
import { pause, waitFor } from '../../src/lab/wait.ts'
import { Manifests, type Size } from '../lab/generate.ts'
import {
  cpuTime,
  type LogLine,
  type Memory,
  memoryOf,
  type RunningAgent,
  readEnvoyStats,
  readMetrics,
  runInOrThrow,
  startAgent,
  startEnvoy,
} from '../lab/node.ts'
import type { Report } from '../runner/experiment.ts'
import { aim, median, p, spread } from '../runner/statistics.ts'

/** A node with all its Services up. */
export interface Fleet {
  readonly node: LabNode
  readonly manifests: Manifests
  readonly agent: RunningAgent
  readonly envoy: Child
}

/** One start of the agent, in seconds after it. */
interface Start {
  /** All manifests are read. */
  readonly read: number
  /** Every Service is in the kernel layer. */
  readonly kernel: number
  /** Envoy has connected. */
  readonly connected: number
  /** Envoy has acknowledged everything, and every Service is in the overlay. */
  readonly overlay: number
  /** Seconds of CPU time until then. */
  readonly agentCpu: number
  readonly envoyCpu: number
  /** How long each nftables transaction took, milliseconds. */
  readonly transactions: readonly number[]
  readonly transactionBytes: number
  readonly agent: Memory
  readonly envoy: Memory
}

export interface ScaleOptions {
  /** How often each size is started. */
  readonly rounds: number
  /** How long the agent is left alone before its memory is read. */
  readonly settleMs: number
}

const limitMs = 180_000

/**
 * Starts each node `rounds` times from nothing, in turns, and leaves it up after the last.
 * @param sizes for node1, node2 and so on; the first is the one that the aims are for
 */
export async function measureScale(network: Network, sizes: readonly Size[], options: ScaleOptions) {
  const fleets: Fleet[] = []
  const starts: Start[][] = sizes.map(() => [])
  for (let round = 0; round < options.rounds; round++) {
    for (const [index, size] of sizes.entries()) {
      const fleet = await build(network, network.nodes[index]!, size)
      starts[index]!.push(await watchStart(fleet, options.settleMs))
      await verify(fleet)
      if (round < options.rounds - 1) await remove(network, fleet)
      else fleets[index] = fleet
    }
  }
  return { fleets, report: report(sizes, starts) }
}

/** One node of a hundred Services, all in both layers. */
export async function startFleet(network: Network): Promise<Fleet> {
  const { fleets } = await measureScale(network, [{ services: 100, endpoints: 10 }], { rounds: 1, settleMs: 0 })
  return fleets[0]!
}

const allInEnvoy = ['--envoy-ports', 'all']

/** @param flags more of the agent's */
export async function build(
  network: Network,
  node: LabNode,
  size: Size,
  flags: readonly string[] = allInEnvoy,
): Promise<Fleet> {
  const source = sourceOf(network, node)
  mkdirSync(source)
  const manifests = new Manifests(source, size)
  manifests.write()
  const [agent, envoy] = await Promise.all([
    startAgent(network, node, ['--source', source, ...flags]),
    startEnvoy(network, node, 2),
  ])
  return { node, manifests, agent, envoy }
}

export async function remove(network: Network, { node, agent, envoy }: Fleet): Promise<void> {
  await Promise.all([agent.process.stop(), envoy.stop()])
  agent.log.close()
  for (const family of ['ip', 'ip6']) await runInOrThrow(node.netns, 'nft', ['delete', 'table', family, 'lightpath'])
  rmSync(sourceOf(network, node), { recursive: true })
}

export function sourceOf(network: Network, node: LabNode): string {
  return join(network.directory, `manifests-${node.name}`)
}

async function watchStart({ node, manifests, agent, envoy }: Fleet, settleMs: number): Promise<Start> {
  const { services } = manifests.cluster.size
  const inKernel = manifests.cluster.elementsOn(node.name)
  const lines: LogLine[] = []
  const milestones = new Map<string, number>()
  let elements = 0
  const reached = (name: string, at: number) => {
    if (!milestones.has(name)) milestones.set(name, (at - agent.started) / 1000)
  }
  const watch = () => {
    for (const line of agent.log.take()) {
      if (line.msg === 'synchronised') reached('read', line.at)
      if (line.msg === 'xDS client connected') reached('connected', line.at)
      if (line.msg !== 'nftables transaction') continue
      lines.push(line)
      elements += (line.added as number) - (line.removed as number)
      if (elements >= inKernel) reached('kernel', line.at)
      if (elements >= inKernel + services) reached('overlay', line.at)
    }
    return milestones.has('overlay')
  }
  await waitFor('every Service in the overlay', limitMs, watch).catch(error => {
    throw new Error(`${error.message}; the end of the agent's log:\n${agent.log.tail()}`)
  })
  const [agentCpu, envoyCpu] = [cpuTime(agent.process) / 1e9, cpuTime(envoy) / 1e9]
  await pause(settleMs)
  return {
    agentCpu,
    envoyCpu,
    read: milestones.get('read')!,
    kernel: milestones.get('kernel')!,
    connected: milestones.get('connected')!,
    overlay: milestones.get('overlay')!,
    transactions: lines.map(line => line.milliseconds as number),
    transactionBytes: lines.reduce((sum, line) => sum + (line.bytes as number), 0),
    agent: memoryOf(agent.process),
    envoy: memoryOf(envoy),
  }
}

/** Asks the kernel, Envoy and the agent's metrics whether it is true what the log says. */
async function verify({ node, manifests }: Fleet): Promise<void> {
  const { services, endpoints } = manifests.cluster.size
  const metrics = await readMetrics(node)
  const envoy = await readEnvoyStats(node, '(active|warming)_clusters|total_listeners_(active|warming)')
  const seen = {
    'elements of set envoy': [await countElements(node, 'set', 'envoy'), services],
    'elements of map services': [await countElements(node, 'map', 'services'), services],
    'elements of map endpoints-tcp': [await countElements(node, 'map', 'endpoints-tcp'), services * endpoints],
    lightpath_overlay_entries: [metrics.get('lightpath_overlay_entries'), services],
    'clusters of Envoy that are not in use': [envoy.get('cluster_manager.warming_clusters'), 0],
    // And those of xDS and of the admin interface.
    'clusters of Envoy': [envoy.get('cluster_manager.active_clusters'), services + 2],
    // The shared one, that of scopes, those of the canary and of the admin interface, and redirect listeners of two families.
    'listeners of Envoy': [envoy.get('listener_manager.total_listeners_active'), 6],
  }
  for (const [what, [found, expected]] of Object.entries(seen))
    if (found !== expected) throw new Error(`${node.name}: ${what}: ${found}, and ${expected} were expected`)
}

async function countElements(node: LabNode, kind: 'set' | 'map', name: string): Promise<number> {
  const text = await runInOrThrow(node.netns, 'nft', ['list', kind, 'ip', 'lightpath', name])
  return text.slice(text.indexOf('elements = {')).split(',').length
}

function report(sizes: readonly Size[], starts: readonly (readonly Start[])[]): Report {
  const of = (pick: (start: Start) => number) => starts.map(rounds => median(rounds.map(pick)))
  const row = (what: string, pick: (start: Start) => number, unit: string, aims: string) => {
    return [what, ...starts.map(rounds => `${spread(rounds.map(pick))} ${unit}`), aims]
  }
  const all = (pick: (start: Start) => number) => starts[0]!.map(pick)
  const [ready, memory, small] = [
    median(all(start => start.overlay)),
    median(all(start => start.agent.rss)),
    of(start => start.agent.rss).at(-1)!,
  ]
  return {
    title: 'Scale: from the start of agent and Envoy until everything is in both layers',
    header: ['', ...sizes.map(sizeText), 'aim'],
    rows: [
      row('manifests read after', start => start.read, 's', ''),
      row('all in the kernel layer after', start => start.kernel, 's', ''),
      row('Envoy connected after', start => start.connected, 's', ''),
      row('all acknowledged and in the overlay after', start => start.overlay, 's', aim('≤ 15 s', ready <= 15)),
      row('  CPU time of the agent until then', start => start.agentCpu, 's', ''),
      row('  CPU time of Envoy until then', start => start.envoyCpu, 's', ''),
      row(
        'agent memory (RSS), settled',
        start => start.agent.rss,
        'MB',
        aim('≤ 200, 100 MB', memory <= 200 && small <= 100),
      ),
      row('agent memory, peak', start => start.agent.peak, 'MB', ''),
      row('Envoy memory (RSS), settled', start => start.envoy.rss, 'MB', ''),
      ['nftables transactions', ...of(start => start.transactions.length).map(String), ''],
      row('  p50', start => p(start.transactions, 50), 'ms', ''),
      row('  longest', start => Math.max(...start.transactions), 'ms', ''),
      row('  all together', start => start.transactions.reduce((sum, ms) => sum + ms, 0), 'ms', ''),
    ],
    notes: [`medians of ${starts[0]!.length} starts; kernel, Envoy and metrics were asked whether all is there`],
    data: { sizes, starts },
  }
}

function sizeText({ services, endpoints }: Size): string {
  return `${services.toLocaleString('en')} Services, ${(services * endpoints).toLocaleString('en')} endpoints`
}
