/** Cgroups of version 1 or 2, whichever this machine has. */

import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** Where a version has its groups, and a file of each group that has the controller. */
export interface CgroupVersion {
  readonly root: string
  /** It begins with the controller's name, as `memory.max`. */
  readonly file: string
}

/** Finds the version whose groups have the file. */
export function versionHere<V extends CgroupVersion>(versions: readonly V[]): V | undefined {
  return versions.find(({ root, file }) => existsSync(join(root, file)) || isHandedDown(root, file))
}

/** The root of version 2 has no such file itself: it says which controllers the groups in it get. */
function isHandedDown(root: string, file: string): boolean {
  const controllers = join(root, 'cgroup.subtree_control')
  return existsSync(controllers) && readFileSync(controllers, 'utf8').split(/\s/).includes(file.split('.')[0]!)
}
