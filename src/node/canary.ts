/**
 * Whether this node's Envoy answers. Envoy's workers answer requests on the canary port; a process that hangs with its
 * ports open (SIGSTOP, a deadlock) still accepts connections, so only an answer counts.
 */

import { get } from 'node:http'

export interface CanaryOptions {
  readonly port: number
  readonly intervalMs: number
  /** How long an answer may take. */
  readonly timeoutMs: number
  /** How many requests in a row must be missed for Envoy to count as dead. */
  readonly misses: number
  /** Called when the answer to "does it answer?" changes, and once at the start. */
  readonly onChange: (answers: boolean) => void
}

export interface Canary {
  stop(): void
}

export function startCanary({ port, intervalMs, timeoutMs, misses, onChange }: CanaryOptions): Canary {
  let known: boolean | undefined
  let missed = 0
  let timer: NodeJS.Timeout | undefined
  let stopped = false

  const tell = (answers: boolean) => {
    if (answers === known) return
    known = answers
    onChange(answers)
  }

  const ask = async () => {
    const result = await request(port, timeoutMs)
    if (stopped) return
    missed = result === 'answered' ? 0 : missed + 1
    if (result === 'answered') tell(true)
    // Nobody listens: no need to ask twice.
    else if (result === 'refused' || missed >= misses) tell(false)
    timer = setTimeout(ask, intervalMs)
  }

  void ask()
  return {
    stop() {
      stopped = true
      clearTimeout(timer)
    },
  }
}

function request(port: number, timeoutMs: number): Promise<'answered' | 'refused' | 'missed'> {
  return new Promise(resolve => {
    const options = {
      host: '127.0.0.1',
      port,
      path: '/',
      agent: false,
      signal: AbortSignal.timeout(timeoutMs),
    } as const
    const query = get(options, response => {
      response.resume()
      resolve(response.statusCode === 200 ? 'answered' : 'missed')
    })
    query.on('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'ECONNREFUSED' ? 'refused' : 'missed'))
  })
}
