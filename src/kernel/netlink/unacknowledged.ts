/**
 * Tells for how long a peer has left data unacknowledged, as the kernel knows it (`struct tcp_info`). A peer that takes
 * its time to answer, or has no room for more, acknowledges.
 */

import { MalformedMessage, type Message, readAttributes } from './reader.ts'
import { listTcpBy, readTcpSocket, type TcpFilter, type TcpSocket } from './sockdiag.ts'
import type { NetlinkSocket } from './socket.ts'

const infoAttribute = 2
/** What the socket's timer (`idiag_timer`) is for: to retransmit. Another one is for probes of a closed window. */
const retransmission = 1

/** Throws as `NetlinkSocket.dumpNow`. */
export function listUnacknowledged(socket: NetlinkSocket, filter: TcpFilter, forMs: number): readonly TcpSocket[] {
  const read = (message: Pick<Message, 'body'>) =>
    unacknowledgedMs(message) >= forMs ? readTcpSocket(message) : undefined
  return listTcpBy(socket, filter, read, [infoAttribute])
}

/**
 * Returns the time from when the oldest unacknowledged data was sent until its last retransmission; 0 without one.
 * Throws MalformedMessage.
 *
 * Each pause before a retransmission (RTO) is twice as long as the one before, so all before the current pause together
 * are as long as that one without the first.
 */
export function unacknowledgedMs({ body }: Pick<Message, 'body'>): number {
  if (body.length < 72) throw new MalformedMessage('a socket is cut')
  if (body[2] !== retransmission) return 0
  const info = readAttributes(body, 72).get(infoAttribute)
  if (!info || info.length < 12) return 0
  const repetitions = info[2]!
  const backoff = info[4]!
  const pauseUs = info.readUInt32LE(8)
  return repetitions === 0 ? 0 : (pauseUs - pauseUs / 2 ** backoff) / 1000
}
