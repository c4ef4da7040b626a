/** Runs the system's own programs (iptables-restore, ipset): one process, bounded time and output. */

import { spawn } from 'node:child_process'
import { type Problem, problem } from '../../services/problem.ts'
import { NetlinkError } from '../netlink/answer.ts'
import { SystemCallError } from '../netlink/libc.ts'

/** Words before each command, such as `['nsenter', '--net=/var/run/netns/node1']`; usually none. */
export type CommandPrefix = readonly string[]

/** Why a program did not do what it was asked. Only `refused` is about what it was asked. */
export type CommandFailure = 'missing' | 'permission' | 'timeout' | 'taken' | 'refused'

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

/** A program that takes longer is ended. */
export const commandTimeoutMs = 60e3
const keptErrorBytes = 4096

/** Resolves when the program has ended with 0, else rejects with a CommandError. */
export async function runCommand(command: readonly string[], options: CommandOptions = {}): Promise<void> {
  const [program, ...args] = [...(options.prefix ?? []), ...command] as [string, ...string[]]
  const child = spawn(program, args, {
    stdio: ['pipe', 'pipe', 'pipe'],
    timeout: commandTimeoutMs,
    killSignal: 'SIGKILL',
  })
  let errors = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    if (errors.length < keptErrorBytes) errors += text.slice(0, keptErrorBytes)
  })
  let rest = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    if (options.onLine === undefined) return
    const lines = (rest + text).split('\n')
    rest = lines.pop()!
    for (const line of lines) options.onLine(line)
  })
  // A program that ends without reading its input is reported by its exit, not by the broken pipe.
  child.stdin.on('error', () => {})
  child.stdin.end(options.input)
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  child.on('error', (error: NodeJS.ErrnoException) => {
    const failure = error.code === 'ENOENT' ? 'missing' : 'permission'
    reject(new CommandError(command[0]!, failure, `cannot run ${program}: ${error.message}`))
  })
  child.on('close', (status, signal) => {
    if (rest !== '') options.onLine?.(rest)
    if (status === 0) return resolve()
    const failure = signal !== null ? 'timeout' : failureOf(status, errors)
    reject(new CommandError(command[0]!, failure, firstError(errors) || `ended with ${signal ?? `status ${status}`}`))
  })
  return promise
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
  missing: 'install it (Debian: iptables, ipset)',
  permission: 'run as root, or with the capability CAP_NET_ADMIN',
  taken: 'stop one of the two; this one writes nothing, and begins when the other has ended',
  timeout: 'tried again; see whether the machine is overloaded',
}

/** By a call of ours; a program says so itself. */
function isForbidden(error: unknown): boolean {
  const isOurs = error instanceof NetlinkError || error instanceof SystemCallError
  return isOurs && ['EPERM', 'EACCES'].includes(error.code)
}

/**
 * Makes a problem of the kernel layer. `refusedRemedy` says what happens where the program refused what it was asked.
 */
export function commandProblem(object: string, error: unknown, refusedRemedy: string): Problem {
  const message = error instanceof Error ? error.message : String(error)
  if (isForbidden(error)) return problem('LP401', object, message, remedies.permission)
  if (!(error instanceof CommandError)) return problem('LP401', object, message, refusedRemedy)
  const remedy = error.failure === 'refused' ? refusedRemedy : remedies[error.failure]
  return problem('LP401', object, `${error.program}: ${message}`, remedy)
}
