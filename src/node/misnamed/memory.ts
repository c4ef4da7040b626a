/**
 * Keeps which ports are misnamed in a file, so that a restart of the agent knows them. It is gone with the node's
 * memory (`/run`): a node that starts anew finds them out anew.
 */

import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

export type Misnamed = readonly (readonly [id: string, said: string])[]

/** No more than a node has Service ports; a file that is larger is none of ours. */
const mostEntries = 100_000

/** The path of the file in the directory of Envoy's sockets. */
export function misnamedFile(directory: string): string {
  return join(directory, 'misnamed-ports.json')
}

/** Returns nothing where there is no such file, or it is not as `writeMisnamed` wrote it. */
export function readMisnamed(directory: string): Misnamed {
  try {
    const found: unknown = JSON.parse(readFileSync(misnamedFile(directory), 'utf8'))
    return isMisnamed(found) ? found : []
  } catch {
    return []
  }
}

/** @throws Error where the file cannot be written */
export function writeMisnamed(directory: string, misnamed: Misnamed): void {
  const file = misnamedFile(directory)
  // Under another name first: a reader never finds half of it.
  writeFileSync(`${file}.new`, JSON.stringify(misnamed), { mode: 0o600 })
  renameSync(`${file}.new`, file)
}

function isMisnamed(found: unknown): found is Misnamed {
  return Array.isArray(found) && found.length <= mostEntries && found.every(isEntry)
}

function isEntry(found: unknown): boolean {
  return Array.isArray(found) && found.length === 2 && found.every(part => typeof part === 'string')
}
