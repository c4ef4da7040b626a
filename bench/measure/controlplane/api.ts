/**
 * What many nodes cost the API server: watches, and bytes of a change, where each agent watches by itself and where two control
 * planes do. Both are counted at the API server: watches by its own metric, bytes by a counter of what its port sends.
 */

import { fileURLToPath } from 'node:url'
import type { LabNode, Network } from '../../../src/lab/network.ts'
import { pause } from '../../../src/lab/wait.ts'
import { ControlPlane } from '../../lab/control-plane.ts'
import { Cluster } from '../../lab/generate.ts'
import { readMetrics, runInOrThrow } from '../../lab/node.ts'
import type { Report } from '../../runner/experiment.ts'
import { aim, figure } from '../../runner/statistics.ts'
import { replaceOne } from './changes.ts'
import { giveAddresses, startFleet } from './fleet.ts'
import { startReplica } from './replica.ts'
import { readReports } from './reports.ts'
import { createAccount, createNodes } from './tokens.ts'

export interface ApiOptions {
  readonly agents: number
  /** Of each size. */
  readonly changes: number
}

/** How many endpoints the EndpointSlice has that changes; in this order, one for each Service. */
const sizes = [100, 10] as const

interface Costs {
  readonly watches: number
  /** Bytes that the API server sends for one change of each size. */
  readonly sent: readonly number[]
}

interface Shared extends Costs {
  /** Bytes that the control planes send for it. */
  readonly onward: readonly number[]
}

const most = 1 / 50
const betweenMs = 100
const settleMs = 5000
const watchers = fileURLToPath(new URL('../../programs/watchers.ts', import.meta.url))
const counter = `table inet bench {
  counter sent { }
  chain output { type filter hook output priority 0; oifname != "lo" tcp sport 6443 counter name sent; }
}`

export async function measureApi(network: Network, options: ApiOptions): Promise<Report> {
  const lab = await ApiLab.build(network, options)
  return report(await lab.direct(), await lab.shared(), options)
}

class ApiLab {
  readonly #network: Network
  readonly #plane: ControlPlane
  readonly #cluster: Cluster
  readonly #options: ApiOptions
  readonly #names: readonly string[]

  private constructor(network: Network, plane: ControlPlane, options: ApiOptions) {
    this.#network = network
    this.#plane = plane
    this.#options = options
    this.#cluster = new Cluster({ services: sizes.length, endpoints: Math.max(...sizes) })
    this.#names = Array.from({ length: options.agents }, (_, index) => `node${100 + index}`)
  }

  static async build(network: Network, options: ApiOptions): Promise<ApiLab> {
    const plane = await ControlPlane.start(network, { netns: network.fabric, address: '172.30.0.1' })
    const lab = new ApiLab(network, plane, options)
    await lab.#load()
    return lab
  }

  /** Each agent watches by itself. */
  async direct(): Promise<Costs> {
    const { netns } = this.#network.nodes[2]!
    const idle = await this.#watches()
    const logFile = `${this.#network.directory}/watchers.log`
    const args = [watchers, '--kubeconfig', this.#plane.kubeconfig, ...this.#names]
    const child = await this.#network.processes.spawnIn(netns, process.execPath, args, { logFile, pipeStdout: true })
    const read = readReports(child.stdout!, logFile)
    await read()
    await pause(settleMs)
    const watches = (await this.#watches()) - idle
    const [sent] = await this.#change(async () => [await this.#sent()])
    child.kill('SIGTERM')
    const told = await read<readonly number[]>()
    await child.exited
    if (told.some(changes => changes !== this.#options.changes * sizes.length))
      throw new Error(`agents were told of ${[...new Set(told)].join()} changes`)
    await pause(settleMs)
    return { watches, sent: sent! }
  }

  /** Two control planes watch, and each tells half of the agents. */
  async shared(): Promise<Shared> {
    const [first, second, agents] = this.#network.nodes as readonly [LabNode, LabNode, LabNode]
    const tokens = [...(await createNodes(this.#plane, this.#names))]
    await giveAddresses(agents, [first, second])
    const idle = await this.#watches()
    const half = Math.ceil(tokens.length / 2)
    for (const [index, home] of [first, second].entries()) {
      const replica = await startReplica(this.#network, home, this.#plane.kubeconfig)
      const its = new Map(tokens.slice(index * half, (index + 1) * half))
      await startFleet(this.#network, agents, replica, its)
    }
    await pause(settleMs)
    const watches = (await this.#watches()) - idle
    const onward = async (node: LabNode) => (await readMetrics(node)).get('lightpath_controlplane_sent_bytes_total')!
    const [sent, ...each] = await this.#change(async () => [
      await this.#sent(),
      await onward(first),
      await onward(second),
    ])
    return { watches, sent: sent!, onward: sizes.map((_, size) => each.reduce((sum, one) => sum + one[size]!, 0)) }
  }

  async #load(): Promise<void> {
    for (const [number, size] of sizes.entries())
      for (let left = Math.max(...sizes); left > size; left--) this.#cluster.change(number, 'remove')
    await this.#plane.load(this.#cluster, [])
    await createAccount(this.#plane)
    await runInOrThrow(this.#network.fabric, 'nft', ['-f', '-'], counter)
  }

  /** For each of the counts: by how much one change of each size has it grow. */
  async #change(counts: () => Promise<readonly number[]>): Promise<readonly (readonly number[])[]> {
    const grown: number[][] = []
    for (const number of sizes.keys()) {
      const before = await counts()
      for (let change = 0; change < this.#options.changes; change++) {
        await replaceOne(this.#plane, this.#cluster, number)
        await pause(betweenMs)
      }
      await pause(settleMs)
      for (const [index, count] of (await counts()).entries()) {
        grown[index] ??= []
        grown[index].push((count - before[index]!) / this.#options.changes)
      }
    }
    return grown
  }

  /** Watches that the API server has. */
  async #watches(): Promise<number> {
    const { text } = await this.#plane.ask('GET', '/metrics')
    const lines = text.matchAll(/^apiserver_longrunning_requests\{.*verb="WATCH".*\} (\d+)$/gm)
    return [...lines].reduce((sum, [, value]) => sum + Number(value), 0)
  }

  async #sent(): Promise<number> {
    const text = await runInOrThrow(this.#network.fabric, 'nft', ['list', 'counter', 'inet', 'bench', 'sent'])
    return Number(/bytes (\d+)/.exec(text)![1])
  }
}

function report(direct: Costs, shared: Shared, { agents, changes }: ApiOptions): Report {
  const row = (what: string, unit: string, ours: number, theirs: number, onward = '') => {
    const ratio = ours / theirs
    return [
      what,
      `${figure(theirs)}${unit}`,
      `${figure(ours)}${unit}`,
      figure(ratio),
      aim('≤ 1/50', ratio <= most),
      onward,
    ]
  }
  return {
    title: `The API server with ${agents} agents: each by itself, and by two control planes`,
    header: ['', 'directly', 'by two control planes', 'ratio', 'aim', 'control planes send'],
    rows: [
      row('watches', '', shared.watches, direct.watches),
      ...sizes.map((size, index) => {
        const [ours, theirs, onward] = [shared.sent[index]!, direct.sent[index]!, shared.onward[index]!]
        const what = `sent for a change of an EndpointSlice of ${size} endpoints`
        return row(what, ' kB', ours / 1000, theirs / 1000, `${figure(onward / 1000)} kB`)
      }),
    ],
    notes: [
      `${changes} changes of each; directly: the source of an agent as it is, so many times in one process; by control planes: simulated nodes`,
      'what the API server sends on the wire, by TLS; what control planes send, before TLS',
    ],
    data: { agents, changes, direct, shared },
  }
}
