/**
 * Keeps a process running, as systemd or the kubelet would: Envoy and the agent of a node are each started again when
 * they die, and neither is the other's parent.
 */

import type { Child, Processes, SpawnOptions } from './processes.ts'

export interface Program {
  readonly netns: string
  readonly command: string
  readonly args: readonly string[]
  readonly options?: SpawnOptions
}

const firstDelayMs = 100
const longestDelayMs = 5000
/** A process that ran so long was healthy: its next restart is at once again. */
const healthyMs = 10_000

export class Supervised {
  readonly #processes: Processes
  readonly #program: Program
  #wanted = false
  #child: Child | undefined
  #retry: NodeJS.Timeout | undefined
  #delayMs = firstDelayMs

  constructor(processes: Processes, program: Program) {
    this.#processes = processes
    this.#program = program
  }

  /** undefined while it is down. */
  get pid(): number | undefined {
    return this.#child?.pid
  }

  /** Starts it and from now on restarts it. Resolves when the process exists; whether it is ready is for the caller to see. */
  async up(): Promise<void> {
    if (this.#wanted) return
    this.#wanted = true
    this.#delayMs = firstDelayMs
    await this.#start()
  }

  /** Ends it, and it stays down until `up`. SIGTERM becomes SIGKILL after 2 s. */
  async down(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
    this.#wanted = false
    clearTimeout(this.#retry)
    const child = this.#child
    if (signal === 'SIGTERM') await child?.stop()
    else child?.kill('SIGKILL')
    await child?.exited
  }

  /** Sends a signal; should the process die of it, it is restarted. SIGSTOP and SIGCONT make it hang and go on. */
  kill(signal: NodeJS.Signals): void {
    this.#child?.kill(signal)
  }

  async #start(): Promise<void> {
    const { netns, command, args, options } = this.#program
    const child = await this.#processes.spawnIn(netns, command, args, options)
    const started = performance.now()
    this.#child = child
    void child.exited.then(() => {
      if (this.#child === child) this.#child = undefined
      if (performance.now() - started > healthyMs) this.#delayMs = firstDelayMs
      this.#restartLater()
    })
  }

  #restartLater(): void {
    if (!this.#wanted || this.#processes.ending) return
    this.#retry = setTimeout(() => {
      this.#start().catch(() => this.#restartLater())
    }, this.#delayMs)
    this.#delayMs = Math.min(this.#delayMs * 2, longestDelayMs)
  }
}
