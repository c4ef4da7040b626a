/**
 * Makes the directory of the sockets between the agent and Envoy. It belongs to root and to the group of Envoy's user:
 * these two may enter it, and nobody else. Each may remove its own files alone (the sticky bit), and root all.
 *
 * The agent has neither CAP_DAC_OVERRIDE nor CAP_CHOWN. So it has to be in that group, to give the directory to it and
 * to connect to Envoy's sockets (deploy/node/daemonset.yaml: supplementalGroups).
 */

import { chmodSync, chownSync, lstatSync, mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import type { EnvoySockets } from '../../envoy/program/sockets.ts'

const mode = 0o1770
/** sockaddr_un has 108 bytes, and the longest name here is that of a canary. */
const longestPath = 107 - '/canary-1.sock'.length

/** @param envoyUser beside this process's own user the only one whose processes are trusted there */
export function envoySockets(options: { readonly envoySockets: string; readonly envoyUser: number }): EnvoySockets {
  return { directory: options.envoySockets, users: [process.geteuid!(), options.envoyUser] }
}

/** Makes the directory, or corrects its owner and permissions. @throws Error that names it and says what to do */
export function prepareSocketDirectory(path: string, group: number): void {
  if (Buffer.byteLength(path) > longestPath)
    throw new Error(`${path} is too long for a socket's directory: at most ${longestPath} bytes`)
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 })
  makeIfMissing(path)
  const found = lstatSync(path)
  if (!found.isDirectory()) throw new Error(`${path} is no directory; remove it`)
  if (found.uid !== process.geteuid!())
    throw new Error(`directory ${path} belongs to user ${found.uid}, who could put sockets there; remove it`)
  try {
    if (found.gid !== group) chownSync(path, -1, group)
    if ((found.mode & 0o7777) !== mode) chmodSync(path, mode)
  } catch (error) {
    const reason = (error as NodeJS.ErrnoException).code
    throw new Error(
      `directory ${path} cannot be closed to others (${reason}); run the agent as root, in group ${group}`,
    )
  }
}

function makeIfMissing(path: string): void {
  try {
    mkdirSync(path, { mode: 0o700 })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
}
