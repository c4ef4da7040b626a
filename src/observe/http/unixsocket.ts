/** Listens on Unix sockets where a killed process may have left its file, and checks who is at the other end. */

import { unlinkSync } from 'node:fs'
import { connect, type ListenOptions, type Server, type Socket } from 'node:net'
import { credentialsOf } from '../../kernel/netlink/credentials.ts'

/**
 * Listens. A socket file that a killed process left is replaced.
 * @param who names, in the error, the running process that answers there
 * @throws Error that names the path, and what to do
 */
export async function listenUnix(
  server: Pick<Server, 'listen' | 'once' | 'off'>,
  path: string,
  who: string,
): Promise<void> {
  if (await answers(path)) throw new Error(`socket ${path}: ${who} uses it; stop it or choose another`)
  unlinkIfThere(path)
  await listen(server, { path })
}

export function listen(server: Pick<Server, 'listen' | 'once' | 'off'>, where: ListenOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(where, () => {
      server.off('error', reject)
      resolve()
    })
  })
}

/** Connects; the connection ends with an error if the process at the other end has another user than these. */
export function connectUnix(path: string, users: readonly number[] | undefined): Socket {
  const socket = connect(path)
  if (users !== undefined) {
    // Before anything is sent: what was written so far waits for this event, too.
    socket.prependOnceListener('connect', () => {
      const user = peerUser(socket)
      if (!users.includes(user)) socket.destroy(new Error(`socket ${path} is served by user ${user}`))
    })
  }
  return socket
}

/** Returns the user of the process at the other end of a connected Unix socket, by the kernel's word. */
export function peerUser(socket: Socket): number {
  const { _handle: handle } = socket as unknown as { readonly _handle: { readonly fd: number } | null }
  if (!handle) throw new Error('the socket is closed')
  return credentialsOf(handle.fd).uid
}

function answers(path: string): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(path)
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })
}

function unlinkIfThere(path: string): void {
  try {
    unlinkSync(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
}
