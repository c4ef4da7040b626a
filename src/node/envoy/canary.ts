/**
 * Watches whether an Envoy of this node answers. Its workers answer requests on the canary socket; a process that hangs
 * with its sockets open (SIGSTOP, a deadlock) still accepts connections, so only an answer counts.
 */

import type { UnixAddress } from '../../envoy/program/sockets.ts'
import { get } from '../../observe/plainhttp.ts'
import { connectUnix } from '../../observe/unixsocket.ts'

/**
 * `overloaded`: it serves, but is short of memory, and ends each connection after its answer (envoy/bootstrap/overload.ts).
 * `draining`: it is about to end. `refused`: nobody listens. `missed`: somebody listens and does not answer.
 */
export type CanaryAnswer = 'serving' | 'overloaded' | 'draining' | 'refused' | 'missed'

export interface CanaryOptions {
  readonly socket: UnixAddress
  readonly intervalMs: number
  /** The interval for an Envoy that starts: until it serves for the first time, but not for long. */
  readonly startIntervalMs: number
  /** How long an answer may take. */
  readonly timeoutMs: number
  /** How many answers in a row must be missed before that is reported. */
  readonly misses: number
  /** After `overloaded`, how many times in a row it has to be `serving` before that is reported. */
  readonly recovery: number
  /** Called when the answer changes, and once at the start. */
  readonly onChange: (answer: CanaryAnswer) => void
}

export interface Canary {
  stop(): void
}

/** How often a starting Envoy is asked at that interval. */
const mostStarts = 100

export function startCanary({
  socket,
  intervalMs,
  startIntervalMs,
  timeoutMs,
  misses,
  recovery,
  onChange,
}: CanaryOptions): Canary {
  let known: CanaryAnswer | undefined
  let missed = 0
  let starts = mostStarts
  /** How many more times it has to be serving. */
  let recovering = 0
  let timer: NodeJS.Timeout | undefined
  let stopped = false

  const ask = async () => {
    const answer = await request(socket, timeoutMs)
    if (stopped) return
    missed = answer === 'missed' ? missed + 1 : 0
    if (answer === 'overloaded') recovering = recovery
    else if (answer === 'serving' && recovering > 0) recovering--
    starts = answer === 'serving' ? 0 : Math.max(0, starts - 1)
    timer = setTimeout(ask, starts > 0 ? startIntervalMs : intervalMs)
    if (answer === known || (answer === 'missed' && missed < misses)) return
    if (answer === 'serving' && recovering > 0) return
    known = answer
    onChange(answer)
  }

  void ask()
  return {
    stop() {
      stopped = true
      clearTimeout(timer)
    },
  }
}

function request({ path, users }: UnixAddress, timeoutMs: number): Promise<CanaryAnswer> {
  return new Promise(resolve => {
    const options = {
      path: '/',
      createConnection: () => connectUnix(path, users),
      // Makes it mean something that an answer ends the connection.
      headers: { connection: 'keep-alive' },
      signal: AbortSignal.timeout(timeoutMs),
    } as const
    const query = get(options, response => {
      // With no agent, nobody else ends what is to be kept alive.
      response.destroy()
      const answer = answers.get(response.statusCode) ?? 'missed'
      resolve(answer === 'serving' && response.headers.connection === 'close' ? 'overloaded' : answer)
    })
    query.on('error', (error: NodeJS.ErrnoException) => resolve(nobody.has(error.code) ? 'refused' : 'missed'))
  })
}

/** The file that a killed Envoy left, or none. */
const nobody: ReadonlySet<string | undefined> = new Set(['ECONNREFUSED', 'ENOENT'])

const answers: ReadonlyMap<number | undefined, CanaryAnswer> = new Map([
  [200, 'serving'],
  [503, 'draining'],
])
