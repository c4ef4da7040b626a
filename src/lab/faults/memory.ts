/** Limits of the memory of a lab's processes: cgroups of version 1 or 2, whose names begin with that of the lab. */

import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type CgroupVersion, versionHere } from '../cgroups.ts'
import { waitFor } from '../wait.ts'

const limitMs = 10_000

/** The file is that of the limit. */
interface MemoryVersion extends CgroupVersion {
  readonly usage: string
  readonly unlimited: string
}

const version = versionHere<MemoryVersion>([
  {
    root: '/sys/fs/cgroup/memory',
    file: 'memory.limit_in_bytes',
    usage: 'memory.usage_in_bytes',
    unlimited: '-1',
  },
  { root: '/sys/fs/cgroup', file: 'memory.max', usage: 'memory.current', unlimited: 'max' },
])

/** Whether this machine has such cgroups. */
export const canLimitMemory = version !== undefined

export class MemoryGroup {
  readonly #path: string
  readonly #version: MemoryVersion

  /** Undefined where there are none. */
  static create(name: string): MemoryGroup | undefined {
    return version && new MemoryGroup(version, name)
  }

  private constructor(version: MemoryVersion, name: string) {
    this.#version = version
    this.#path = join(version.root, name)
    mkdirSync(this.#path)
    copyWeight(version.root, this.#path)
  }

  /** A process whose id is written there is in it. */
  get processes(): string {
    return join(this.#path, 'cgroup.procs')
  }

  /** Bytes in use. */
  get usage(): number {
    return Number(readFileSync(join(this.#path, this.#version.usage), 'utf8'))
  }

  /**
   * The kernel ends what needs more, and what is started in its place, until there is another limit. Version 1 takes no limit below
   * what is in use: until the process has ended it gets that, and the next page is the end.
   * @param bytes undefined: no limit
   */
  async limit(bytes: number | undefined): Promise<void> {
    const file = join(this.#path, this.#version.file)
    const text = bytes === undefined ? this.#version.unlimited : String(bytes)
    await waitFor(`${file} to be ${text}`, limitMs, () => {
      if (isTaken(file, text)) return true
      isTaken(file, String(this.usage))
      return false
    })
  }
}

/** The names of all groups there are. */
export function memoryGroupNames(): readonly string[] {
  return version ? namesIn(version.root) : []
}

/** Removes the groups whose names begin so. */
export function removeMemoryGroups(prefix: string): void {
  for (const name of memoryGroupNames().filter(name => name.startsWith(prefix))) {
    try {
      rmdirSync(join(version!.root, name))
    } catch {
      // A process in it is just ending; the next lab removes it.
    }
  }
}

function namesIn(directory: string): readonly string[] {
  if (!existsSync(directory)) return []
  return readdirSync(directory, { withFileTypes: true }).flatMap(entry => (entry.isDirectory() ? entry.name : []))
}

function isTaken(file: string, text: string): boolean {
  try {
    writeFileSync(file, text)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EBUSY') return false
    throw error
  }
}

/** In version 2 a process leaves the group that says how much of the cores it gets. */
function copyWeight(root: string, path: string): void {
  const own = /^0::(.*)$/m.exec(readFileSync('/proc/self/cgroup', 'utf8'))?.[1] ?? ''
  const [from, to] = [join(root, own, 'cpu.weight'), join(path, 'cpu.weight')]
  if (existsSync(from) && existsSync(to)) writeFileSync(to, readFileSync(from))
}
