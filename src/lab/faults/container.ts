/** What a container gives a process of a lab, to be taken away while it runs: memory, and a disk that takes its log. */

import { mkdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Network } from '../network.ts'
import { MemoryGroup } from './memory.ts'

const diskBytes = 16 * 1024 ** 2

export class Container {
  /** Undefined where the machine has no cgroups for it. */
  readonly memory: MemoryGroup | undefined
  readonly #disk: string

  constructor({ name: lab, directory }: Pick<Network, 'name' | 'directory'>, name: string) {
    this.memory = MemoryGroup.create(`${lab}-${name}`)
    this.#disk = join(directory, `${name}-disk`)
    mkdirSync(this.#disk)
  }

  /** The command line that runs another one in it, as the same process. */
  around(words: readonly string[]): readonly string[] {
    const steps = [
      ...(this.memory ? [`echo $$ >'${this.memory.processes}'`] : []),
      `mount -t tmpfs -o size=${diskBytes} none "$0"`,
      'exec "$@" >"$0/log" 2>&1',
    ]
    // slave: network namespaces that are deleted meanwhile outside are let go in here, too.
    const mounts = ['unshare', '--mount', '--propagation=slave']
    return [...mounts, 'sh', '-euc', steps.join('\n'), this.#disk, ...words]
  }

  /** @param pid of the process in it, which alone sees the disk */
  fillDisk(pid: number): void {
    const { bfree, bsize } = statfsSync(this.#seenBy(pid))
    try {
      writeFileSync(join(this.#seenBy(pid), 'full'), Buffer.alloc(bfree * bsize))
    } catch (error) {
      // What was logged meanwhile has taken some of it.
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
    }
  }

  freeDisk(pid: number): void {
    rmSync(join(this.#seenBy(pid), 'full'), { force: true })
  }

  #seenBy(pid: number): string {
    return join(`/proc/${pid}/root`, this.#disk)
  }
}
