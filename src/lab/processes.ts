/** Runs commands and long-running processes inside network namespaces. */

import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import type { Readable } from 'node:stream'
import { netnsPath } from './leftovers.ts'

interface ProcessOptions {
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
  /** A file that the process sees as /etc/hosts. */
  readonly hostsFile?: string
}

export interface RunOptions extends ProcessOptions {
  readonly input?: string
  /** After this time the command is killed. Default: 30 s, which no command takes by itself on a busy machine. */
  readonly timeoutMs?: number
}

export interface RunResult {
  readonly stdout: string
  readonly stderr: string
  /** null when the command was killed, for example at its time limit. */
  readonly code: number | null
}

export interface SpawnOptions extends ProcessOptions {
  /** Gets what the process writes to stdout and stderr, appended. Without it the output is thrown away. */
  readonly logFile?: string
  /** Hand stdout to the caller as `Child.stdout` in place of the log. */
  readonly pipeStdout?: boolean
}

interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

export interface Child {
  readonly pid: number
  readonly exited: Promise<Exit>
  /** Present with `pipeStdout`. */
  readonly stdout: Readable | null
  /** Sends a signal; nothing happens when the process has ended. */
  kill(signal: NodeJS.Signals): void
  /** SIGTERM, and SIGKILL when it is still there after `graceMs` (default 2000). */
  stop(graceMs?: number): Promise<Exit>
}

/** Runs a command in a namespace to its end. Never throws for what the command does: look at `code`. */
export async function runIn(
  netns: string,
  command: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<RunResult> {
  const [program, programArgs] = enter(netns, command, args, options)
  return run(program, programArgs, options)
}

/** As `runIn`, in the namespace of this process. */
export async function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const child = spawn(command, args, {
    cwd: options.cwd,
    env: { ...process.env, ...options.env },
    timeout: options.timeoutMs ?? 30_000,
    killSignal: 'SIGKILL',
  })
  // A command that ends without reading its input is not an error of ours.
  child.stdin.on('error', () => undefined)
  child.stdin.end(options.input ?? '')
  const [stdout, stderr, exit] = await Promise.all([text(child.stdout), text(child.stderr), ended(child)])
  return { stdout, stderr, code: exit.code }
}

/** The processes of one lab. They run in sessions of their own, so that each is ended by its pid alone. */
export class Processes {
  readonly #children = new Set<Child>()
  #ending = false

  /** True once `stopAll` has begun: nothing is to be started any more. */
  get ending(): boolean {
    return this.#ending
  }

  async spawnIn(netns: string, command: string, args: readonly string[], options: SpawnOptions = {}): Promise<Child> {
    if (this.#ending) throw new Error(`${command} is not started: the lab is being removed`)
    const [program, programArgs] = enter(netns, command, args, options)
    const log = options.logFile === undefined ? 'ignore' : openSync(options.logFile, 'a')
    const child = spawn(program, programArgs, {
      cwd: options.cwd,
      env: { ...process.env, ...options.env },
      detached: true,
      stdio: ['ignore', options.pipeStdout ? 'pipe' : log, log],
    })
    if (log !== 'ignore') closeSync(log)
    const exited = ended(child)
    if (child.pid === undefined) await exited
    const handle = new Handle(child, exited)
    this.#children.add(handle)
    void exited.then(() => this.#children.delete(handle))
    return handle
  }

  /** Ends all of them; resolves when none is left. */
  async stopAll(): Promise<void> {
    this.#ending = true
    await Promise.all([...this.#children].map(child => child.stop()))
  }
}

class Handle implements Child {
  readonly pid: number
  readonly exited: Promise<Exit>
  readonly stdout: Readable | null
  readonly #child: ChildProcess

  constructor(child: ChildProcess, exited: Promise<Exit>) {
    this.pid = child.pid!
    this.exited = exited
    this.stdout = child.stdout
    this.#child = child
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  async stop(graceMs = 2000): Promise<Exit> {
    this.kill('SIGTERM')
    // A stopped process cannot end before it goes on.
    this.kill('SIGCONT')
    const last = setTimeout(() => this.kill('SIGKILL'), graceMs)
    try {
      return await this.exited
    } finally {
      clearTimeout(last)
    }
  }
}

/**
 * Returns the command line that runs a command in a namespace. nsenter and unshare exec it, so its pid is that of the
 * child.
 */
function enter(
  netns: string,
  command: string,
  args: readonly string[],
  { hostsFile }: ProcessOptions,
): [string, string[]] {
  const netnsFlag = `--net=${netnsPath(netns)}`
  if (hostsFile === undefined) return ['nsenter', [netnsFlag, command, ...args]]
  // slave: namespaces deleted meanwhile outside are let go in here too, while the mount is visible to this process
  // alone.
  const mount = ['unshare', '--mount', '--propagation=slave', 'sh', '-c']
  const script = 'mount --bind "$0" /etc/hosts && exec "$@"'
  return ['nsenter', [netnsFlag, ...mount, script, hostsFile, command, ...args]]
}

/** Resolves at the end of a process, rejects when it could not be started. */
function ended(child: ChildProcess): Promise<Exit> {
  const { promise, resolve, reject } = Promise.withResolvers<Exit>()
  child.once('error', reject)
  child.once('exit', (code, signal) => resolve({ code, signal }))
  return promise
}

async function text(stream: Readable): Promise<string> {
  stream.setEncoding('utf8')
  let all = ''
  for await (const chunk of stream) all += chunk
  return all
}
