/**
 * Asks the kernel whose sockets listen on the ports to which connections are redirected. Linux shares new connections
 * out among all sockets of one user that listen there, so a process that has Envoy's user by chance would get some of
 * them.
 *
 * Envoy's sockets belong to a user that is connected for xDS, and are transparent, which takes CAP_NET_ADMIN or
 * CAP_NET_RAW. While there is another, nothing is redirected to Envoy. The kernel layer's guard
 * (kernel/nftables/rules/chains.ts) keeps connections from a socket that is not transparent meanwhile, and while no
 * agent watches.
 */

import { type TcpSocket, tcpListeners } from '../../kernel/netlink/sockdiag.ts'
import { NetlinkSocket } from '../../kernel/netlink/socket.ts'
import { redirectPortsOf } from '../../net/redirectports.ts'
import { type Problem, problem } from '../../services/problem.ts'

/** `nobody` listens; `unknown`: the kernel cannot be asked. */
export type PortOwner = 'envoy' | 'stranger' | 'nobody' | 'unknown'

export interface RedirectPortOptions {
  /** The first of them. */
  readonly port: number
  /** The users of the processes that count as Envoys. */
  readonly users: () => readonly number[]
  readonly everyMs: number
  readonly onProblems: (problems: readonly Problem[]) => void
  /** The answer of `isEnvoys` changed. */
  readonly onChange: () => void
}

export class RedirectPort {
  readonly #options: RedirectPortOptions
  #socket: NetlinkSocket | undefined
  #timer: NodeJS.Timeout | undefined
  #isEnvoys = true

  constructor(options: RedirectPortOptions) {
    this.#options = options
  }

  /** Probes again and again from now on. */
  watch(): void {
    this.#timer = setInterval(() => {
      const before = this.#isEnvoys
      if (this.isEnvoys() !== before) this.#options.onChange()
    }, this.#options.everyMs)
  }

  /** Whether no other process listens there at this moment. */
  isEnvoys(): boolean {
    const strangers = this.#listeners()?.filter(listener => !this.#isEnvoy(listener)) ?? []
    this.#isEnvoys = strangers.length === 0
    this.#options.onProblems(strangers.slice(0, 1).map(({ uid, local }) => strangerProblem(local.port, uid)))
    return this.#isEnvoys
  }

  owner(): PortOwner {
    const listeners = this.#listeners()
    if (listeners === undefined) return 'unknown'
    if (listeners.length === 0) return 'nobody'
    return listeners.every(listener => this.#isEnvoy(listener)) ? 'envoy' : 'stranger'
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#socket?.close()
  }

  #isEnvoy({ uid, transparent }: TcpSocket): boolean {
    return transparent !== false && this.#options.users().includes(uid)
  }

  /** Undefined where the kernel cannot be asked, such as one without INET_DIAG: its guard has to do. */
  #listeners(): readonly TcpSocket[] | undefined {
    try {
      this.#socket ??= new NetlinkSocket('sockDiag')
      const socket = this.#socket
      return redirectPortsOf(this.#options.port).flatMap(port => tcpListeners(socket, port))
    } catch {
      this.#socket?.close()
      this.#socket = undefined
      return undefined
    }
  }
}

function strangerProblem(port: number, user: number): Problem {
  const remedy = `the kernel layer serves all Services; stop it (ss -ltnpe 'sport = :${port}' shows it)`
  return problem('LP305', `port ${port}`, `a process of user ${user} listens there that is not Envoy`, remedy)
}
