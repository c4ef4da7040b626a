/**
 * Keeps which ports are misnamed in a file, so that a restart of the agent knows them. It is gone with the node's
 * memory (`/run`): a node that starts anew finds them out anew. Envoy's user may write to the directory, too, so a file
 * that is not the agent's own counts as none.
 */

import { closeSync, constants, fstatSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

export type Misnamed = readonly (readonly [id: string, said: string])[]

/** No more than a node has Service ports; a file that is larger is none of ours. */
const mostEntries = 100_000
const mostBytes = mostEntries * 400

/** The paths in the directory of Envoy's sockets: the file, and where it is written before it has its name. */
export function misnamedFiles(directory: string): readonly [file: string, draft: string] {
  const file = join(directory, 'misnamed-ports.json')
  return [file, `${file}.new`]
}

/** Returns nothing where there is no such file, or it is not as `writeMisnamed` wrote it. */
export function readMisnamed(directory: string): Misnamed {
  try {
    const found: unknown = JSON.parse(readOwn(misnamedFiles(directory)[0]))
    return isMisnamed(found) ? found : []
  } catch {
    return []
  }
}

/** @throws Error where the file cannot be written */
export function writeMisnamed(directory: string, misnamed: Misnamed): void {
  const [file, draft] = misnamedFiles(directory)
  rmSync(draft, { force: true })
  // Under another name first, so that a reader never finds half of it, and to a new file (wx), never through a link.
  writeFileSync(draft, JSON.stringify(misnamed), { mode: 0o600, flag: 'wx' })
  renameSync(draft, file)
}

/** @throws Error where it is no file of this process's user; a FIFO there does not block */
function readOwn(path: string): string {
  const file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  try {
    const found = fstatSync(file)
    const isOwn = found.isFile() && found.uid === process.geteuid!() && found.size <= mostBytes
    if (!isOwn) throw new Error(`${path} is none of ours`)
    return readFileSync(file, 'utf8')
  } finally {
    closeSync(file)
  }
}

function isMisnamed(found: unknown): found is Misnamed {
  return Array.isArray(found) && found.length <= mostEntries && found.every(isEntry)
}

function isEntry(found: unknown): boolean {
  return Array.isArray(found) && found.length === 2 && found.every(part => typeof part === 'string')
}
