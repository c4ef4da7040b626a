/** Reads a manifest: a regular file within its directory, and no more of it than its size. */

import { closeSync, constants, fstatSync, openSync, readlinkSync, readSync, realpathSync } from 'node:fs'
import { sep } from 'node:path'

const mib = 1024 * 1024
const largestFile = 32 * mib
/** Finds a file and opens nothing: to open a device or a pipe may do something. Node has no name for it. */
const O_PATH = 0o10000000

/**
 * @param root the real path of the directory
 * @param real that of a file or directory
 * @throws Error where a link led out of the directory: whoever may write a link there must not have anything read that
 * they may not read themselves. The links of Kubernetes' volumes lead to `..data` within them.
 */
export function checkWithin(root: string, real: string): void {
  if (real !== root && !real.startsWith(root.endsWith(sep) ? root : root + sep)) {
    throw new Error('it is a link that leads out of the directory')
  }
}

/** @throws Error with what is wrong with the file, without its content */
export function readText(root: string, path: string): string {
  const found = openSync(path, O_PATH)
  try {
    const itself = `/proc/self/fd/${found}`
    checkWithin(realpathSync.native(root), readlinkSync(itself))
    const stats = fstatSync(found)
    if (!stats.isFile()) throw new Error('it is no regular file')
    const { size } = stats
    if (size > largestFile) throw new Error(`it has ${size} bytes, and ${largestFile} are read at most`)
    return readFrom(openSync(itself, constants.O_RDONLY), size)
  } finally {
    closeSync(found)
  }
}

function readFrom(file: number, size: number): string {
  try {
    // Never beyond its size: the files of /proc have none, and reading some of them never ends.
    const bytes = Buffer.allocUnsafe(size)
    let length = 0
    for (let read = -1; read !== 0 && length < size; length += read) {
      read = readSync(file, bytes, length, size - length, null)
    }
    return bytes.toString('utf8', 0, length)
  } finally {
    closeSync(file)
  }
}
