/** Runs the system's own programs (nft, ip, conntrack): one process, bounded time and output. */

import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { type Problem, problem } from '../services/problem.ts'

/** Words before each command, such as `['nsenter', '--net=/var/run/netns/node1']`; usually none. */
export type CommandPrefix = readonly string[]

/** Why a program did not do what it was asked. Only `refused` is about what it was asked. */
export type CommandFailure = 'missing' | 'permission' | 'timeout' | 'refused'

export class CommandError extends Error {
  readonly program: string
  readonly failure: CommandFailure

  constructor(program: string, failure: CommandFailure, message: string) {
    super(message)
    this.name = 'CommandError'
    this.program = program
    this.failure = failure
  }
}

export interface CommandOptions {
  readonly prefix?: CommandPrefix
  readonly input?: string
  /** Takes the output line by line; without it, it is not kept. */
  readonly onLine?: (line: string) => void
}

const timeoutMs = 60e3
const keptErrorBytes = 4096

/** Resolves when the program has ended with 0, else rejects with a CommandError. */
export async function runCommand(command: readonly string[], options: CommandOptions = {}): Promise<void> {
  return new StartedCommand(command, options.prefix).run(options)
}

/** A program that waits for its input. Its time is bounded from `run` on. */
export class StartedCommand {
  readonly #name: string
  readonly #child: ChildProcessWithoutNullStreams
  readonly #ended = Promise.withResolvers<void>()
  #errors = ''
  #hasEnded = false

  constructor(command: readonly string[], prefix: CommandPrefix = []) {
    const [program, ...args] = [...prefix, ...command] as [string, ...string[]]
    this.#name = command[0]!
    this.#child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] })
    this.#child.stderr.setEncoding('utf8').on('data', (text: string) => {
      if (this.#errors.length < keptErrorBytes) this.#errors += text.slice(0, keptErrorBytes)
    })
    // A program that ends without reading its input is reported by its exit, not by the broken pipe.
    this.#child.stdin.on('error', () => {})
    this.#child.on('error', (error: NodeJS.ErrnoException) => {
      const failure = error.code === 'ENOENT' ? 'missing' : 'permission'
      this.#end(new CommandError(this.#name, failure, `cannot run ${program}: ${error.message}`))
    })
    this.#child.on('close', (status, signal) => this.#end(this.#failure(status, signal)))
    // Who waits for it is told by `run`.
    this.#ended.promise.catch(() => {})
  }

  get hasEnded(): boolean {
    return this.#hasEnded
  }

  /** Resolves when the program has ended with 0, else rejects with a CommandError. Once only. */
  async run({ input, onLine }: Omit<CommandOptions, 'prefix'>): Promise<void> {
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), timeoutMs)
    let rest = ''
    this.#child.stdout.setEncoding('utf8').on('data', (text: string) => {
      if (onLine === undefined) return
      const lines = (rest + text).split('\n')
      rest = lines.pop()!
      for (const line of lines) onLine(line)
    })
    this.#child.stdin.end(input)
    try {
      await this.#ended.promise
    } finally {
      clearTimeout(timer)
      if (rest !== '') onLine?.(rest)
    }
  }

  /** It shall not run: ends it. */
  cancel(): void {
    this.#child.kill('SIGKILL')
  }

  #end(error: CommandError | undefined): void {
    this.#hasEnded = true
    if (error) this.#ended.reject(error)
    else this.#ended.resolve()
  }

  #failure(status: number | null, signal: NodeJS.Signals | null): CommandError | undefined {
    if (status === 0) return undefined
    const failure = signal !== null ? 'timeout' : failureOf(status, this.#errors)
    const message = firstError(this.#errors) || `ended with ${signal ?? `status ${status}`}`
    return new CommandError(this.#name, failure, message)
  }
}

/** 127 is what shells, env and nsenter end with where they find no program. */
function failureOf(status: number | null, errors: string): CommandFailure {
  if (status === 127) return 'missing'
  return /operation not permitted|permission denied|must be root/i.test(errors) ? 'permission' : 'refused'
}

/** nft quotes the command below each error; the error itself is enough. */
function firstError(errors: string): string {
  const lines = errors.split('\n').filter(line => line !== '')
  const line = lines.find(text => /error/i.test(text)) ?? lines[0] ?? ''
  return line.replace(/^\/dev\/stdin:\S+ /, '').slice(0, 300)
}

const remedies: Readonly<Record<Exclude<CommandFailure, 'refused'>, string>> = {
  missing: 'install it (Debian: nftables, or iptables and ipset; conntrack, iproute2)',
  permission: 'run as root, or with the capability CAP_NET_ADMIN',
  timeout: 'tried again; see whether the machine is overloaded',
}

/** A problem of the kernel layer. `refusedRemedy` says what happens where the program refused what it was asked. */
export function commandProblem(object: string, error: unknown, refusedRemedy: string): Problem {
  const message = error instanceof Error ? error.message : String(error)
  if (!(error instanceof CommandError)) return problem('LP401', object, message, refusedRemedy)
  const remedy = error.failure === 'refused' ? refusedRemedy : remedies[error.failure]
  return problem('LP401', object, `${error.program}: ${message}`, remedy)
}
