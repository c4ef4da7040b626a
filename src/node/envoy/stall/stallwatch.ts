/**
 * Watches the connections of Envoys of which one leaves a canary request unanswered. When it hangs, its clients'
 * connections end, so that they connect anew and reach the kernel layer: as long as the process is there nobody else
 * would end them, and each request on them would wait.
 */

import { listProgress, type TcpProgress } from '../../../kernel/netlink/progress.ts'
import { destroyTcp } from '../../../kernel/netlink/sockdiag.ts'
import { NetlinkSocket } from '../../../kernel/netlink/socket.ts'
import { repeat } from '../../../kernel/sync/repeat.ts'
import { redirectPortsOf } from '../../../net/redirectports.ts'
import type { Log } from '../../../observe/log.ts'
import { Stall } from './stall.ts'

export interface StallOptions {
  /** Of Envoy's own connections. */
  readonly envoyMark: number
  /** See `EnvoySockets`. */
  readonly redirectPort: number
  /** The users of the processes that count as Envoys. */
  readonly users: () => readonly number[]
  readonly log: Log
}

export interface StallWatch {
  stop(): void
}

const everyMs = 200
/** The share of the time for looks, which take long where the node has very many connections. */
const share = 0.1
/** So many looks in a row without progress are a hang: a pause of the whole machine looks like one of them. */
const stalledLooks = 4

/**
 * @param onStalled called once, when an Envoy hangs; its clients' connections end a look later, when nothing is
 *   redirected to it any more
 */
export function watchStall(options: StallOptions, onStalled: () => void): StallWatch {
  const { log } = options
  const stall = new Stall()
  let socket: NetlinkSocket | undefined
  let isKnown = false
  const look = () => {
    socket ??= new NetlinkSocket('sockDiag')
    const found = listProgress(socket, { states: ['established', 'closeWait'] }).filter(one => isEnvoys(one, options))
    const looks = stall.look(found)
    if (!isKnown && [...looks.values()].some(count => count >= stalledLooks)) {
      isKnown = true
      onStalled()
    }
    const isStalled = ({ cgroup }: TcpProgress) => looks.get(cgroup)! > stalledLooks
    const unwanted = found.filter(one => isStalled(one) && !isMarked(one, options))
    const ended = unwanted.filter(one => destroyTcp(socket!, one)).length
    if (ended > 0) log.warn({ ended }, 'Envoy hangs: the connections of its clients ended')
  }
  const tryToLook = () => {
    try {
      look()
    } catch (error) {
      looks.stop()
      log.warn({ reason: (error as Error).message }, 'clients of an Envoy that hangs keep their connections to it')
    }
  }
  const looks = repeat(async () => tryToLook(), everyMs, share)
  tryToLook()
  return {
    stop: () => {
      looks.stop()
      socket?.close()
    },
  }
}

/** Accepted connections inherit from their listener that they are transparent. */
function isEnvoys(one: TcpProgress, options: StallOptions): boolean {
  const isAccepted = one.transparent !== false || redirectPortsOf(options.redirectPort).includes(one.local.port)
  return options.users().includes(one.uid) && (isAccepted || isMarked(one, options))
}

function isMarked({ mark = 0 }: TcpProgress, { envoyMark }: StallOptions): boolean {
  return (mark & envoyMark) === envoyMark
}
