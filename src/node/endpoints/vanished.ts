/**
 * Ends Envoy's connections to endpoints that have vanished without a word: a node without power, a network that drops
 * packets. Envoy sees a reset: it sends what may be repeated to another endpoint, and ejects this one. Otherwise requests
 * would wait for as long as their clients do, and outlier detection would learn nothing.
 *
 * Such a peer does not even acknowledge what was sent to it. Where it had acknowledged all before it vanished, it answers
 * no keepalive, and no attempt of the agent's to connect. Each alone may have other reasons: lost packets, or a server
 * with more connections than it can take.
 *
 * TCP_USER_TIMEOUT and keepalive alone would do the same, but the one ends connections to peers without room for more as
 * well (Linux 6.18), and the other those to an only endpoint.
 */

import type { Frontend } from '../../envoy/resources/frontend.ts'
import { listSilent, nameOf, type Silence } from '../../kernel/netlink/silence.ts'
import { destroyTcp } from '../../kernel/netlink/sockdiag.ts'
import { NetlinkSocket } from '../../kernel/netlink/socket.ts'
import { countTcpTimeouts } from '../../kernel/system/connections/tcptimeouts.ts'
import type { Log } from '../../observe/log.ts'
import { isByRequest } from '../../services/settings/envoyprotocol.ts'
import { PeriodicTask } from '../tasks/periodictask.ts'
import { SilenceLooks } from './silencelooks.ts'

export interface VanishedOptions {
  /** The mark of Envoy's own connections. */
  readonly envoyMark: number
  /** Lists the frontends for which Envoy connects to an endpoint, which may be excluded. */
  readonly frontendsTo: (endpoint: string) => Iterable<Frontend>
  /** Called for each that does not answer the kernel, also where its connections have to wait. */
  readonly onSilence: (endpoint: string) => void
  /** Whether connections of the agent's own to the endpoint are not answered either. */
  readonly timesOut: (endpoint: string) => boolean
  readonly log: Log
}

const intervalMs = 250
const afterFailureMs = 10_000
/** Linux has sent a segment three times by then: at once, after 200 ms and after 600 ms. */
const unacknowledgedForMs = 500
/** The first has waited for two seconds by then (envoy/resources/connection.ts). */
const enoughProbes = 2

export class VanishedEndpoints {
  readonly #options: VanishedOptions
  readonly #task = new PeriodicTask(async () => this.#probe())
  readonly #looks = new SilenceLooks()
  #socket: NetlinkSocket | undefined

  constructor(options: VanishedOptions) {
    this.#options = options
  }

  start(): void {
    this.#task.schedule(intervalMs)
  }

  async stop(): Promise<void> {
    await this.#task.stop()
    this.#socket?.close()
  }

  #probe(): number {
    try {
      const ended = this.#end()
      if (ended.length > 0) {
        const endpoints = [...new Set(ended)]
        this.#options.log.warn(
          { endpoints, connections: ended.length },
          'endpoints vanished: connections to them ended',
        )
      }
      return intervalMs
    } catch (error) {
      this.#options.log.warn({ reason: (error as Error).message }, 'whether endpoints vanished cannot be told')
      return afterFailureMs
    }
  }

  #end(): readonly string[] {
    this.#socket ??= new NetlinkSocket('sockDiag')
    const socket = this.#socket
    const { envoyMark, frontendsTo, onSilence, timesOut } = this.#options
    const [now, timeouts] = [performance.now(), countTcpTimeouts()]
    if (!this.#looks.isDue(now, timeouts)) return []
    const filter = { states: ['established'], mark: { value: envoyMark, mask: envoyMark } } as const
    const silent = listSilent(socket, filter).map(connection => ({
      connection,
      endpoint: nameOf(connection.remote),
    }))
    this.#looks.looked(now, timeouts, silent.length > 0)
    const endpoints = new Set(silent.map(({ endpoint }) => endpoint))
    for (const endpoint of endpoints) onSilence(endpoint)
    // Once for each: a node that is gone leaves many connections at once.
    const mayEnd = new Set([...endpoints].filter(endpoint => mayGoElsewhere([...frontendsTo(endpoint)])))
    return silent
      .filter(({ endpoint, connection }) => mayEnd.has(endpoint) && hasVanished(connection, () => timesOut(endpoint)))
      .filter(({ connection }) => destroyTcp(socket, connection))
      .map(({ endpoint }) => endpoint)
  }
}

/** @param timesOut asked about the endpoint only where that matters */
export function hasVanished({ unacknowledgedMs, unansweredProbes }: Silence, timesOut: () => boolean): boolean {
  return unacknowledgedMs >= unacknowledgedForMs || (unansweredProbes >= enoughProbes && timesOut())
}

/** Connections of other protocols, and those to an endpoint without siblings, can only wait, as behind kube-proxy. */
export function mayGoElsewhere(frontends: readonly Pick<Frontend, 'layer' | 'endpoints'>[]): boolean {
  const isBalanced = ({ layer, endpoints }: Pick<Frontend, 'layer' | 'endpoints'>) =>
    layer.wants === 'envoy' && isByRequest(layer.protocol) && endpoints.length > 1
  return frontends.length > 0 && frontends.every(isBalanced)
}
