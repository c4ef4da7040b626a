/** Lists the manifest files and directories below a directory, as they are now. */

import { type BigIntStats, type Dirent, realpathSync, statSync } from 'node:fs'
import { readdir, realpath, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { isTurnOver, nextTurn } from '../../worker/turns.ts'
import { checkWithin } from './file.ts'
import { isManifestName } from './manifest.ts'

export interface FileTree {
  /** By path, what tells a directory from another that comes under its name. */
  readonly directories: ReadonlyMap<string, string>
  /** Files and directories that exist but cannot be read, with the reason; nothing is known of what is below. */
  readonly unreadable: ReadonlyMap<string, string>
}

/** Called with what exists as it is found: a list of 10,000 files, at each scan, would be MBs of garbage. */
export interface TreeVisitor {
  /** Called before the directory is listed, so that a watch opened there misses nothing. */
  directory?(path: string, identity: string): void
  /** A manifest file. */
  file(path: string, state: FileState): void
}

export interface FileState {
  /** Different whenever the content may be. */
  readonly signature: string
  readonly size: number
  /** Milliseconds since the epoch. */
  readonly modified: number
}

/** Deeper trees come from links that do not show where they lead, such as in some network file systems. */
const deepest = 32

/**
 * Follows symbolic links, also of directories, that stay within the root, but not in circles. Names that begin with a
 * dot are left out: editors put half-finished files there, and Kubernetes' volumes the directories to which their links
 * lead.
 */
export async function lookAtTree(root: string, visitor: TreeVisitor): Promise<FileTree> {
  const directories = new Map<string, string>()
  const unreadable = new Map<string, string>()
  const realRoot = await realpath(root)

  async function lookAt(path: string, entry: Dirent, above: readonly string[]): Promise<void> {
    try {
      // A tenth of what waiting for each of 10,000 files would take.
      const stats = statSync(path, { bigint: true, throwIfNoEntry: false })
      if (isTurnOver()) await nextTurn()
      if (!stats?.isDirectory() && !isManifestName(entry.name)) return
      if (stats && entry.isSymbolicLink()) checkWithin(realRoot, realpathSync(path))
      if (stats?.isDirectory()) await list(path, identityOf(stats), above)
      else if (stats?.isFile()) visitor.file(path, stateOf(stats))
      else if (stats) unreadable.set(path, 'it is no regular file')
      else if (entry.isSymbolicLink()) unreadable.set(path, 'it is a link that leads nowhere')
    } catch (error) {
      unreadable.set(path, messageOf(error))
    }
  }

  async function list(path: string, identity: string, above: readonly string[]): Promise<void> {
    if (above.includes(identity) || above.length > deepest) return
    visitor.directory?.(path, identity)
    const entries = await readdir(path, { withFileTypes: true })
    directories.set(path, identity)
    for (const entry of entries) {
      if (!entry.name.startsWith('.')) await lookAt(join(path, entry.name), entry, [...above, identity])
    }
  }

  const stats = await stat(root, { bigint: true })
  if (!stats.isDirectory()) throw new Error('it is no directory')
  await list(root, identityOf(stats), [])
  return { directories, unreadable }
}

/** Undefined where there is no such file. Throws where it is none that is read. */
export async function lookAtFile(root: string, path: string): Promise<FileState | undefined> {
  const stats = await stat(path, { bigint: true, throwIfNoEntry: false })
  if (stats) checkWithin(await realpath(root), await realpath(path))
  if (stats && !stats.isFile()) throw new Error('it is no regular file')
  return stats && stateOf(stats)
}

export async function isDirectory(path: string): Promise<boolean> {
  return stat(path).then(
    stats => stats.isDirectory(),
    () => false,
  )
}

function stateOf({ dev, ino, size, mtimeNs, ctimeNs, mtimeMs }: BigIntStats): FileState {
  return { signature: [dev, ino, size, mtimeNs, ctimeNs].join(), size: Number(size), modified: Number(mtimeMs) }
}

function identityOf({ dev, ino }: BigIntStats): string {
  return `${dev},${ino}`
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
