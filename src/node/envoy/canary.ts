/**
 * Watches whether an Envoy of this node answers. Its workers answer requests on the canary socket; a process that hangs
 * with its sockets open (SIGSTOP, a deadlock) still accepts connections, so only an answer counts.
 */

import type { UnixAddress } from '../../envoy/program/sockets.ts'
import { get } from '../../observe/http/plainhttp.ts'
import { connectUnix } from '../../observe/http/unixsocket.ts'
import type { Shortage } from '../../plan/envoy/heldback.ts'
import type { StallWatch } from './stall/stallwatch.ts'

/**
 * `overloaded`: it serves, but is short of memory, and ends each connection after its answer (envoy/bootstrap/overload.ts).
 * `full`: it closes new connections at once, since it has as many as it takes. `draining`: it is about to end. `refused`:
 * nobody listens. `missed`: somebody listens and does not answer.
 */
export type CanaryAnswer = 'serving' | 'overloaded' | 'full' | 'draining' | 'refused' | 'missed'

/** What an Envoy that answers so is short of. */
export function shortageIn(answer: CanaryAnswer | undefined): Shortage | undefined {
  return answer && shortages[answer]
}

/** Whether nothing may be redirected while an Envoy that takes connections answers so. */
export function isUnfit(answer: CanaryAnswer | undefined): boolean {
  return answer === 'missed' || shortageIn(answer) !== undefined
}

const shortages: Readonly<Partial<Record<CanaryAnswer, Shortage>>> = {
  overloaded: 'memory',
  full: 'room for connections',
}

export interface CanaryOptions {
  readonly socket: UnixAddress
  readonly intervalMs: number
  /** The interval for an Envoy that starts: until it serves for the first time, but not for long. */
  readonly startIntervalMs: number
  /** How long an answer may take. */
  readonly timeoutMs: number
  /** How many requests in a row must get no answer before `missed` or `full` is reported. */
  readonly misses: number
  /** After `overloaded` or `full`, how many times in a row it has to be `serving` before that is reported. */
  readonly recovery: number
  /** Called when the answer changes, and once at the start. */
  readonly onChange: (answer: CanaryAnswer) => void
  /** After so long without an answer Envoy may hang. */
  readonly suspectMs: number
  /** Called then, and stopped with the next answer. When it finds that Envoy hangs, `missed` is reported at once. */
  readonly watchStall: (onStalled: () => void) => StallWatch
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
  suspectMs,
  watchStall,
}: CanaryOptions): Canary {
  let known: CanaryAnswer | undefined
  let last: CanaryAnswer | undefined
  /** How many requests in a row got no answer, and how many got this last one. */
  let unanswered = 0
  let alike = 0
  let starts = mostStarts
  /** How many more times it has to be serving. */
  let recovering = 0
  let timer: NodeJS.Timeout | undefined
  let suspicion: NodeJS.Timeout | undefined
  let stall: StallWatch | undefined
  let stopped = false

  const ask = async () => {
    suspicion = setTimeout(suspect, suspectMs)
    const found = await request(socket, timeoutMs)
    clearTimeout(suspicion)
    if (stopped) return
    if (found !== 'missed') trust()
    const isUnanswered = found === 'missed' || found === 'full'
    unanswered = isUnanswered ? unanswered + 1 : 0
    alike = found === last ? alike + 1 : 1
    last = found
    if (isUnanswered && unanswered < misses) return wait()
    // An Envoy that just dies closes connections, too, also while it hangs, but nobody accepts the next. And one that is
    // full may be slow besides: what is known of it stays.
    const isMixed = isUnanswered && alike < misses
    if (isMixed && (known === 'missed' || known === 'full')) return wait()
    const answer = isMixed ? 'missed' : found
    if (answer === 'overloaded' || answer === 'full') recovering = recovery
    else if (answer === 'serving' && recovering > 0) recovering--
    if (answer === 'serving') starts = 0
    wait()
    if (answer === 'serving' && recovering > 0) return
    say(answer)
  }
  const say = (answer: CanaryAnswer) => {
    if (answer === known) return
    known = answer
    onChange(answer)
  }
  const suspect = () => {
    stall ??= watchStall(() => say('missed'))
  }
  const trust = () => {
    stall?.stop()
    stall = undefined
  }
  const wait = () => {
    starts = Math.max(0, starts - 1)
    timer = setTimeout(ask, starts > 0 ? startIntervalMs : intervalMs)
  }

  void ask()
  return {
    stop() {
      stopped = true
      clearTimeout(timer)
      clearTimeout(suspicion)
      trust()
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
    query.on('error', (error: NodeJS.ErrnoException) => resolve(failures.get(error.code) ?? 'missed'))
  })
}

const failures: ReadonlyMap<string | undefined, CanaryAnswer> = new Map([
  // The file that a killed Envoy left, or none.
  ['ECONNREFUSED', 'refused'],
  ['ENOENT', 'refused'],
  ['ECONNRESET', 'full'],
  ['EPIPE', 'full'],
])

const answers: ReadonlyMap<number | undefined, CanaryAnswer> = new Map([
  [200, 'serving'],
  [503, 'draining'],
])
