/** A network of two nodes with pods, traffic in it, and the kernel layer of its first node. */

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import type { Flush } from '../../../src/kernel/layer.ts'
import { listFlows } from '../../../src/kernel/netlink/ctnetlink.ts'
import { NetlinkSocket } from '../../../src/kernel/netlink/socket.ts'
import { type KernelPrograms, systemPrograms } from '../../../src/kernel/nftables/programs.ts'
import { KernelTables } from '../../../src/kernel/nftables/sync/table.ts'
import type { KernelOptions } from '../../../src/kernel/options.ts'
import { testOptions } from '../../../src/kernel/testing/states.ts'
import { netnsPath } from '../../../src/lab/leftovers.ts'
import { createNetwork, type LabNode, type Network, type Pod } from '../../../src/lab/network.ts'
import { type Child, runIn } from '../../../src/lab/processes.ts'
import { waitFor } from '../../../src/lab/wait.ts'
import { familyOf } from '../../../src/net/address.ts'
import type { PortState } from '../../../src/plan/ports/port.ts'
import type { Problem } from '../../../src/services/problem.ts'

const traffic = new URL('traffic.py', import.meta.url).pathname

export const needsRoot = { skip: process.getuid?.() === 0 ? false : 'needs root: network namespaces and nftables' }

export class KernelLab {
  readonly network: Network
  readonly flushes: Flush[] = []
  readonly damages: string[] = []
  readonly problems = new Map<string, readonly Problem[]>()
  readonly node: LabNode
  tables: KernelTables

  private constructor(network: Network) {
    this.network = network
    this.node = network.nodes[0]!
    this.tables = this.createTables()
  }

  static async create(): Promise<KernelLab> {
    return new KernelLab(await createNetwork({ nodes: 2 }))
  }

  get options(): KernelOptions {
    const netns = netnsPath(this.node.netns)
    return { ...testOptions, nodeName: this.node.name, netns, prefix: ['nsenter', `--net=${netns}`] }
  }

  /** As a new run of the agent would. Not started. */
  createTables(options: Partial<KernelOptions> = {}, programs: Partial<KernelPrograms> = {}): KernelTables {
    const all = { ...this.options, ...options }
    return new KernelTables(
      all,
      {
        flushed: flush => void this.flushes.push(flush),
        drifted: what => void this.damages.push(what),
        problems: (origin, problems) =>
          void (problems.length === 0 ? this.problems.delete(origin) : this.problems.set(origin, problems)),
      },
      { ...systemPrograms(all, all.netns), ...programs },
    )
  }

  /** A run of the agent, until it has written these ports. */
  async run(states: readonly PortState[], ...how: Parameters<KernelLab['createTables']>): Promise<void> {
    this.tables = this.createTables(...how)
    await this.tables.start()
    for (const state of states) this.tables.setPort(state)
    this.tables.synced()
    await this.tables.settled()
  }

  /**
   * What nft lists, but for the heartbeat, which ends at another time whenever it is looked at. With the flag `-a` it has
   * handles, which change whenever something is written anew.
   */
  async ruleset(...flags: readonly string[]): Promise<string> {
    const text = await this.onNode('nft', ...flags, 'list', 'ruleset')
    return text.replaceAll(/^\s*elements = \{ ip6? timeout .*\n/gm, '')
  }

  /** In any order of tables and chains. */
  async rules(): Promise<string> {
    return (await this.ruleset()).split('\n').toSorted().join('\n')
  }

  /** Waits for what somebody removed to come back by itself. */
  async mended(isWhole: () => Promise<boolean>): Promise<void> {
    for (let n = 0; n < 100; n++) {
      if (await isWhole()) return
      await delay(200)
    }
    assert.fail(`not mended: ${await this.ruleset()}`)
  }

  /** A pod whose servers tell its name: TCP on 8080 and UDP on 5353. */
  async addServer(node: string, name: string): Promise<Pod> {
    const pod = await this.network.addPod(node, name)
    await Promise.all([
      this.spawn(pod.netns, ['serve', name, 'tcp', '8080']),
      this.spawn(pod.netns, ['serve', name, 'udp', '5353']),
    ])
    return pod
  }

  /** Resolves when the program has said `ready`. */
  async spawn(netns: string, args: readonly string[]): Promise<Child> {
    const child = await this.network.processes.spawnIn(netns, 'python3', [traffic, ...args], { pipeStdout: true })
    const [line] = await once(createInterface(child.stdout!), 'line')
    assert.equal(line, 'ready')
    return child
  }

  /** What the client program says. */
  async ask(netns: string, ...args: readonly string[]): Promise<string> {
    const { stdout, stderr } = await runIn(netns, 'python3', [traffic, ...args])
    return stdout.trim() || stderr.trim()
  }

  connect(netns: string, ip: string, port: number, ...more: readonly string[]): Promise<string> {
    return this.ask(netns, 'connect', ...more, ip, String(port))
  }

  /**
   * Connects until the server, with its backlog of one, leaves a first packet unanswered. The answers come once it goes
   * on (SIGCONT) and clients repeat.
   */
  async connectUnanswered(netns: string, ip: string, server: Child): Promise<readonly Promise<string>[]> {
    server.kill('SIGSTOP')
    const clients = 4
    const flows = new NetlinkSocket('netfilter', { netns: netnsPath(this.node.netns) })
    const filter = { family: familyOf(ip)!, protocol: 'TCP', original: { destination: ip } } as const
    const earlier = new Set((await listFlows(flows, filter)).map(({ id }) => id))
    const answers = Array.from({ length: clients }, () => this.connect(netns, ip, 80))
    await waitFor('an unanswered first packet', 5000, async () => {
      const begun = (await listFlows(flows, filter)).filter(({ id }) => !earlier.has(id))
      return begun.length === clients && begun.some(({ isReplied }) => !isReplied)
    })
    flows.close()
    return answers
  }

  async onNode(command: string, ...args: readonly string[]): Promise<string> {
    const { stdout, stderr, code } = await runIn(this.node.netns, command, args)
    assert.equal(code, 0, `${command} ${args.join(' ')}: ${stderr}`)
    return stdout
  }

  async destroy(): Promise<void> {
    await this.tables.close()
    await this.network.destroy()
  }
}

/** A connection that stays open: each `say` resolves to the answer. */
export async function holdConnection(netns: string, ip: string, port: number) {
  const args = [`--net=${netnsPath(netns)}`, 'python3', traffic, 'hold', ip, String(port)]
  const child = spawn('nsenter', args, { stdio: ['pipe', 'pipe', 'ignore'] })
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]()
  const next = async () => (await lines.next()).value as string | undefined
  return {
    greeting: await next(),
    say(text: string) {
      child.stdin.write(`${text}\n`)
      return next()
    },
    close() {
      child.kill()
    },
  }
}
