/** A node's agent that reads from a control plane, beside one that watches the API server: its start and its memory. */

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { LabNode, Network } from '../../../src/lab/network.ts'
import { pause, waitFor } from '../../../src/lab/wait.ts'
import { ControlPlane } from '../../lab/control-plane.ts'
import { Cluster, type Size } from '../../lab/generate.ts'
import { cpuTime, type Memory, memoryOf, runInOrThrow, startAgent, startEnvoy } from '../../lab/node.ts'
import type { Report } from '../../runner/experiment.ts'
import { aim, figure, median, spread } from '../../runner/statistics.ts'
import { flagsFor, startReplica } from './replica.ts'
import { createAccount, requestToken } from './tokens.ts'

export interface AgentOptions extends Size {
  /** Starts by each source, in turns. */
  readonly rounds: number
  /** How long the agent is left alone before its memory is read. */
  readonly settleMs: number
}

interface Start {
  /** From its start until everything is known, seconds. */
  readonly synchronised: number
  /** Of CPU time until then. */
  readonly cpu: number
  /** MB that came to its node until then, on the wire. */
  readonly received: number
  readonly memory: Memory
}

type Kind = 'api' | 'controlPlane'

const aims = { memory: 120, start: 0.7 } as const
const limitMs = 120_000
const envoyWorkers = 2

/** The control plane is on node1, the agent on node2, with an Envoy and the ports that it has by use. */
export async function measureAgent(network: Network, options: AgentOptions): Promise<Report> {
  const [home, node] = network.nodes as readonly [LabNode, LabNode]
  const plane = await ControlPlane.start(network, { netns: network.fabric, address: '172.30.0.1' })
  await plane.load(new Cluster(options), [])
  await createAccount(plane)
  const replica = await startReplica(network, home, plane.kubeconfig)
  const token = join(network.directory, 'token')
  writeFileSync(token, await requestToken(plane, node.name))
  const api = ['--kubeconfig', plane.kubeconfig]
  const flags: Readonly<Record<Kind, readonly string[]>> = { api, controlPlane: [...api, ...flagsFor(replica, token)] }
  const starts: Readonly<Record<Kind, Start[]>> = { api: [], controlPlane: [] }
  for (let round = 0; round < options.rounds; round++) {
    for (const kind of ['api', 'controlPlane'] as const)
      starts[kind].push(await start(network, node, flags[kind], options.settleMs))
  }
  return report(starts, options)
}

async function start(network: Network, node: LabNode, flags: readonly string[], settleMs: number): Promise<Start> {
  const envoy = await startEnvoy(network, node, envoyWorkers)
  const before = await receivedBytes(node)
  const { process, log, started } = await startAgent(network, node, flags)
  const isSynchronised = () => log.take().find(({ msg }) => msg === 'synchronised')
  const { at } = await waitFor('the agent to be synchronised', limitMs, isSynchronised)
  const [cpu, received] = [cpuTime(process) / 1e9, ((await receivedBytes(node)) - before) / 1e6]
  await pause(settleMs)
  const memory = memoryOf(process)
  await Promise.all([process.stop(), envoy.stop()])
  log.close()
  for (const family of ['ip', 'ip6']) await runInOrThrow(node.netns, 'nft', ['delete', 'table', family, 'lightpath'])
  return { synchronised: (at - started) / 1000, cpu, received, memory }
}

async function receivedBytes({ netns }: LabNode): Promise<number> {
  const [, bytes] = /eth0: *(\d+)/.exec(await runInOrThrow(netns, 'cat', ['/proc/net/dev']))!
  return Number(bytes)
}

function report(starts: Readonly<Record<Kind, readonly Start[]>>, options: AgentOptions): Report {
  const row = (
    what: string,
    unit: string,
    of: (start: Start) => number,
    goal: (ours: number, ratio: number) => string,
  ) => {
    const [api, ours] = [starts.api.map(of), starts.controlPlane.map(of)]
    const ratio = median(ours) / median(api)
    return [what, `${spread(api)} ${unit}`, `${spread(ours)} ${unit}`, figure(ratio), goal(median(ours), ratio)]
  }
  const none = () => ''
  return {
    title: `An agent among ${options.services.toLocaleString('en')} Services of ${options.endpoints} endpoints`,
    header: ['', 'by the API server', 'by a control plane', 'ratio', 'aim'],
    rows: [
      row(
        'from its start until it is synchronised',
        's',
        one => one.synchronised,
        (_, ratio) => aim(`≤ ${aims.start} of that by the API`, ratio <= aims.start),
      ),
      row('  CPU time of that', 's', one => one.cpu, none),
      row('  received meanwhile', 'MB', one => one.received, none),
      row(
        'memory (RSS)',
        'MB',
        one => one.memory.rss,
        ours => aim(`≤ ${aims.memory} MB`, ours <= aims.memory),
      ),
      row('  the most', 'MB', one => one.memory.peak, none),
    ],
    notes: [
      `${options.rounds} starts of each, in turns, beside an Envoy that has what is called: nothing here; memory ${options.settleMs / 1000} s later`,
    ],
    data: { options, starts },
  }
}
