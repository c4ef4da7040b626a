/** Credentials of a Unix socket's peer, as the kernel knows them (SO_PEERCRED, unix(7)). */

import { socketOption } from './libc.ts'

export interface Credentials {
  readonly pid: number
  readonly uid: number
  readonly gid: number
}

const solSocket = 1
const peerCredentials = 17

/** Returns them as of when the peer connected. `fd` is of a connected Unix socket. Throws SystemCallError. */
export function credentialsOf(fd: number): Credentials {
  const value = socketOption(fd, solSocket, peerCredentials, 12)
  return { pid: value.readInt32LE(), uid: value.readUInt32LE(4), gid: value.readUInt32LE(8) }
}
