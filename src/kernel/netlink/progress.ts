/** Tells how far a process has come with its TCP connections, as the kernel counts it (`struct tcp_info`). */

import { MalformedMessage, type Message, readAttributes } from './reader.ts'
import { listTcpBy, readTcpSocket, type TcpFilter, type TcpSocket } from './sockdiag.ts'
import type { NetlinkSocket } from './socket.ts'

export interface TcpProgress extends TcpSocket {
  /** Bytes that the process has not read yet; the peer's FIN counts as one. */
  readonly unread: number
  /** Bytes that it has read, and those that it has written, both but for a constant. */
  readonly read: number
  readonly written: number
  /** The process's cgroup v2; 1, the root, where cgroups are of version 1. */
  readonly cgroup: bigint
}

const attributes = { info: 2, cgroup: 21 } as const
const infoLength = 136
const rootCgroup = 1n

/** Throws as `NetlinkSocket.dumpNow`. */
export function listProgress(socket: NetlinkSocket, filter: TcpFilter): readonly TcpProgress[] {
  return listTcpBy(socket, filter, readProgress, [attributes.info])
}

/** Throws MalformedMessage. Undefined from a kernel that does not count bytes. */
export function readProgress(message: Pick<Message, 'body'>): TcpProgress | undefined {
  const { body } = message
  if (body.length < 72) throw new MalformedMessage('a socket is cut')
  const found = readAttributes(body, 72)
  const info = found.get(attributes.info)
  if (!info || info.length < infoLength) return undefined
  const [unread, unacknowledged] = [body.readUInt32LE(56), body.readUInt32LE(60)]
  return {
    ...readTcpSocket(message),
    unread,
    read: Number(info.readBigUInt64LE(128)) - unread,
    written: Number(info.readBigUInt64LE(120)) + unacknowledged,
    cgroup: found.u64(attributes.cgroup) ?? rootCgroup,
  }
}
