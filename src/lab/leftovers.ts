/** Removes what a lab leaves in the system, also by a later process when the lab's owner died. */

import { spawnSync } from 'node:child_process'
import { closeSync, fstatSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { memoryGroupNames, removeMemoryGroups } from './faults/memory.ts'

const netnsDirectory = '/run/netns'

export function netnsPath(netns: string): string {
  return join(netnsDirectory, netns)
}

/**
 * Makes the lab's own directory. Its name is the lab's name and the beginning of the names of its network namespaces,
 * and says who owns them: `lp-<pid>-<start of that process>-<random>`, so that a reused pid does not count as the
 * owner.
 */
export function makeLabDirectory(): string {
  return mkdtempSync(join(tmpdir(), `lp-${process.pid}-${startTime(process.pid)}-`))
}

/**
 * Removes a lab: ends every process in its namespaces, deletes the namespaces with all that is in them, and its
 * directory. Synchronous, because it is the last thing that a dying process does.
 */
export function removeLab(name: string): void {
  const namespaces = entries(netnsDirectory).filter(netns => netns.startsWith(`${name}-`))
  const held = namespaces.flatMap(hold)
  for (const pid of processesIn(held)) kill(pid)
  const deletions = namespaces.map(netns => `netns delete ${netns}\n`).join('')
  // -force goes on where another process has just deleted one of them.
  if (deletions !== '') spawnSync('ip', ['-force', '-batch', '-'], { input: deletions, timeout: 60_000 })
  // Those that were just about to enter; from now on none can.
  for (const pid of processesIn(held)) kill(pid)
  for (const { file } of held) closeSync(file)
  removeMemoryGroups(`${name}-`)
  rmSync(join(tmpdir(), name), { recursive: true, force: true })
}

/** Removes the labs whose owner is dead, and returns their names. */
export function destroyStale(): string[] {
  const left = [...entries(netnsDirectory), ...entries(tmpdir()), ...memoryGroupNames()]
  const names = left.flatMap(entry => labName.exec(entry)?.[0] ?? [])
  const stale = [...new Set(names)].filter(name => !ownerLives(name))
  for (const name of stale) removeLab(name)
  return stale
}

const labName = /^lp-(\d+)-([0-9a-z]+)-\w{6}/

function ownerLives(name: string): boolean {
  const [, pid, start] = labName.exec(name)!
  return startTime(Number(pid)) === start
}

/** When a process started, in clock ticks since the system's start; undefined when there is no such process. */
function startTime(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // proc(5): field 22, counted from behind the command's name, which may contain anything.
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]).toString(36)
  } catch {
    return undefined
  }
}

/** A network namespace whose inode no other gets while the file is open. */
interface Held {
  readonly file: number
  readonly inode: number
}

/** Returns nothing where another process has just deleted it. */
function hold(netns: string): Held[] {
  try {
    const file = openSync(netnsPath(netns), 'r')
    return [{ file, inode: fstatSync(file).ino }]
  } catch {
    return []
  }
}

function processesIn(namespaces: readonly Held[]): number[] {
  const inodes = new Set<number | undefined>(namespaces.map(({ inode }) => inode))
  if (inodes.size === 0) return []
  const pids = entries('/proc').filter(entry => /^\d+$/.test(entry))
  return pids.filter(pid => inodes.has(inode(`/proc/${pid}/ns/net`))).map(Number)
}

function inode(path: string): number | undefined {
  try {
    return statSync(path).ino
  } catch {
    return undefined
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It ended by itself meanwhile.
  }
}

function entries(directory: string): string[] {
  try {
    return readdirSync(directory)
  } catch {
    return []
  }
}

/** Returns the name of the lab that owns a directory made by `makeLabDirectory`. */
export function nameOfLab(directory: string): string {
  return basename(directory)
}
