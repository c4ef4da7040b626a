/**
 * Finds endpoints that answer no new connections, whoever makes these: Envoy, or by the kernel layer the pods. Both are in
 * conntrack. Who sees only them would not suspect an endpoint that is gone: what Envoy fails to connect it tries elsewhere,
 * and nothing else sees who answers the kernel layer.
 */

import { mapFlows } from '../../kernel/netlink/ctnetlink.ts'
import { listHeard } from '../../kernel/netlink/silence.ts'
import { NetlinkSocket, withSocket } from '../../kernel/netlink/socket.ts'
import { familyOf, hostPort, type IpFamily, ofHostPort } from '../../net/address.ts'
import type { Log } from '../../observe/log.ts'
import { PeriodicTask } from '../tasks/periodictask.ts'
import { type Answers, type BegunConnection, Doubts } from './doubts.ts'

/** Takes endpoints that answer no new connections, and says before whether it would. */
export interface Suspicions {
  maySuspect(endpoint: string): boolean
  suspect(endpoint: string): void
}

export interface UnansweredOptions {
  readonly families: readonly IpFamily[]
  readonly suspicions: Suspicions
  readonly log: Log
  /** The network namespace to look at, by its path, for tests; undefined for this process's own. */
  readonly netns?: string
}

/** Longer than any answer takes to a first packet that is not lost. */
const hurriedMs = 250
const usualMs = 500
/** Of a core. A search passes all entries of the node, 200,000 in 46 ms. */
const searchShare = 0.02
const longestMs = 5000
const afterFailureMs = 10_000
/** More is a flood, of which these are enough to judge by. */
const most = 10_000

export class UnansweredEndpoints {
  readonly #options: UnansweredOptions
  readonly #doubts = new Doubts()
  readonly #task = new PeriodicTask(() => this.#look())

  constructor(options: UnansweredOptions) {
    this.#options = options
  }

  start(): void {
    this.#task.schedule(usualMs)
  }

  stop(): Promise<void> {
    return this.#task.stop()
  }

  async #look(): Promise<number> {
    const now = performance.now()
    const before = process.threadCpuUsage()
    try {
      using socket = new NetlinkSocket('netfilter', { netns: this.#options.netns })
      await this.#search(socket, now)
    } catch (error) {
      this.#options.log.warn(
        { reason: (error as Error).message },
        'whether endpoints answer connections cannot be told',
      )
      return afterFailureMs
    }
    if (this.#doubts.areUrgent(now)) return hurriedMs
    const { user, system } = process.threadCpuUsage(before)
    return Math.min(longestMs, Math.max(usualMs, (user + system) / 1000 / searchShare))
  }

  async #search(socket: NetlinkSocket, now: number): Promise<void> {
    const { families, suspicions } = this.#options
    const maySuspect = (endpoint: string) => suspicions.maySuspect(endpoint)
    for (const endpoint of this.#doubts.saw(await listBegun(socket, families), maySuspect, now)) {
      if (this.#doubts.judge(endpoint, await this.#answersOf(endpoint, socket), now)) suspicions.suspect(endpoint)
    }
  }

  async #answersOf(endpoint: string, socket: NetlinkSocket): Promise<Answers> {
    const { netns } = this.#options
    const { ip, port } = ofHostPort(endpoint)
    const filter = { family: familyOf(ip)!, protocol: 'TCP', reply: { source: ip, sourcePort: port } } as const
    const ids = await mapFlows(socket, { ...filter, isReplied: true }, ({ id }) => id)
    const heard = withSocket('sockDiag', { netns }, diagnostics => listHeard(diagnostics, endpoint))
    return { connections: new Set(ids), heardAt: performance.now() - Math.min(...heard) }
  }
}

function listBegun(socket: NetlinkSocket, families: readonly IpFamily[]): Promise<readonly BegunConnection[]> {
  let room = most
  return mapFlows(socket, { protocol: 'TCP', isReplied: false }, ({ id, family, reply }) =>
    families.includes(family) && room-- > 0 ? { id, endpoint: hostPort(reply.source, reply.sourcePort) } : undefined,
  )
}
