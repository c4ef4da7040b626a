/** Who is at the other end of a Unix socket, by the kernel's word (SO_PEERCRED, unix(7)). */

import { socketOption } from './libc.ts'

export interface Credentials {
  readonly pid: number
  readonly uid: number
  readonly gid: number
}

const solSocket = 1
const peerCredentials = 17

/** As it was when the peer connected. `fd` is of a connected Unix socket. Throws SystemCallError. */
export function credentialsOf(fd: number): Credentials {
  const value = socketOption(fd, solSocket, peerCredentials, 12)
  return { pid: value.readInt32LE(), uid: value.readUInt32LE(4), gid: value.readUInt32LE(8) }
}
