/** Reads a manifest: a regular file within its directory, and no more of it than its size. */

import { closeSync, constants, fstatSync, openSync, readSync, realpathSync } from 'node:fs'
import { sep } from 'node:path'

const mib = 1024 * 1024
const largestFile = 32 * mib

/**
 * Returns the real path of the file or directory.
 *
 * @param root the real path of the directory
 * @throws Error where a link on the way leads out of the directory or nowhere: whoever may write a link there must not
 * have anything read that they may not read themselves. The links of Kubernetes' volumes lead to `..data` within them.
 */
export function placeWithin(root: string, path: string): string {
  const real = realpathSync(path)
  if (real !== root && !real.startsWith(root.endsWith(sep) ? root : root + sep)) {
    throw new Error('it is a link that leads out of the directory')
  }
  return real
}

/** @throws Error with what is wrong with the file, without its content */
export function readText(root: string, path: string): string {
  const { O_RDONLY, O_NONBLOCK, O_NOFOLLOW } = constants
  const file = openSync(placeWithin(realpathSync(root), path), O_RDONLY | O_NONBLOCK | O_NOFOLLOW)
  try {
    const stats = fstatSync(file)
    if (!stats.isFile()) throw new Error('it is no regular file')
    if (stats.size > largestFile) throw new Error(`it has ${stats.size} bytes, and ${largestFile} are read at most`)
    // Never beyond its size: the files of /proc have none, and reading some of them never ends.
    const bytes = Buffer.allocUnsafe(stats.size)
    let length = 0
    for (let read = -1; read !== 0 && length < stats.size; length += read) {
      read = readSync(file, bytes, length, stats.size - length, null)
    }
    return bytes.toString('utf8', 0, length)
  } finally {
    closeSync(file)
  }
}
