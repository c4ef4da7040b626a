/**
 * Tells how a connection's peer keeps silent, as the kernel knows it: it acknowledges nothing that was sent, or answers no
 * keepalive. A peer that takes its time to answer, or has no room for more, does both.
 */

import { hostPort, ofHostPort } from '../../net/address.ts'
import { MalformedMessage, type Message, readAttributes } from './reader.ts'
import { listTcpBy, readTcpSocket, type TcpEnd, type TcpFilter, type TcpSocket } from './sockdiag.ts'
import type { NetlinkSocket } from './socket.ts'

export interface Silence {
  /** From when the oldest unacknowledged data was sent until its last retransmission; 0 without one. */
  readonly unacknowledgedMs: number
  /** Keepalives in a row that the peer has not answered, the last of which may just have been sent. */
  readonly unansweredProbes: number
}

export interface SilentSocket extends TcpSocket, Silence {}

const infoAttribute = 2
/**
 * What the socket's timer (`idiag_timer`) is for: to retransmit, or to ask whether the peer is there. Another one is for
 * probes of a closed window.
 */
const timers = { retransmission: 1, keepalive: 2 } as const
const noSilence: Silence = { unacknowledgedMs: 0, unansweredProbes: 0 }

/**
 * Lists connections whose peer has left a retransmission or a keepalive without an answer. Throws as
 * `NetlinkSocket.dumpNow`.
 */
export function listSilent(socket: NetlinkSocket, filter: TcpFilter): readonly SilentSocket[] {
  const read = (message: Pick<Message, 'body'>) => {
    const silence = silenceOf(message)
    return silence === noSilence ? undefined : { ...readTcpSocket(message), ...silence }
  }
  return listTcpBy(socket, filter, read, [infoAttribute])
}

/**
 * Lists how long ago each connection to this endpoint, as `hostPort` writes it, last had something acknowledged, in
 * milliseconds. Throws as `NetlinkSocket.dumpNow`.
 */
export function listHeard(socket: NetlinkSocket, endpoint: string): readonly number[] {
  const { port } = ofHostPort(endpoint)
  const read = (message: Pick<Message, 'body'>) =>
    nameOf(readTcpSocket(message).remote) === endpoint ? acknowledgedMsAgo(message) : undefined
  return listTcpBy(socket, { states: ['established'], remotePort: port }, read, [infoAttribute])
}

/** Writes an endpoint as `hostPort` does, whatever family the socket has. */
export function nameOf({ ip, port }: TcpEnd): string {
  return hostPort(ip.replace(/^::ffff:(?=\d+\.)/, ''), port)
}

function acknowledgedMsAgo({ body }: Pick<Message, 'body'>): number | undefined {
  const info = readAttributes(body, 72).get(infoAttribute)
  return info && info.length >= 60 ? info.readUInt32LE(56) : undefined
}

/**
 * Throws MalformedMessage.
 *
 * Each pause before a retransmission (RTO) is twice as long as the one before, so all before the current pause together
 * are as long as that one without the first.
 */
export function silenceOf({ body }: Pick<Message, 'body'>): Silence {
  if (body.length < 72) throw new MalformedMessage('a socket is cut')
  const [timer, count] = [body[2], body[3]!]
  if (count === 0) return noSilence
  if (timer === timers.keepalive) return { ...noSilence, unansweredProbes: count }
  if (timer !== timers.retransmission) return noSilence
  const info = readAttributes(body, 72).get(infoAttribute)
  if (!info || info.length < 12) return noSilence
  const backoff = info[4]!
  const pauseUs = info.readUInt32LE(8)
  return { ...noSilence, unacknowledgedMs: (pauseUs - pauseUs / 2 ** backoff) / 1000 }
}
