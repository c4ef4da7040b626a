/** Running a command in a container by the API server, as `kubectl exec` does. */

import { PassThrough, Writable } from 'node:stream'
import { Exec } from '@kubernetes/client-node'
import { ApiError } from '../sources/api-server.ts'
import type { KubeConfig } from '../sources/kube-config.ts'
import { rawList, rawObject } from '../text/raw.ts'

export interface Container {
  readonly namespace: string
  readonly pod: string
  readonly container: string
}

export interface ExecOptions {
  /** Each line of its standard output as it comes. */
  readonly onLine: (line: string) => void
  /** Ends the connection. Of that the command hears that its standard input has ended, and nothing else. */
  readonly signal: AbortSignal
}

export interface ExecResult {
  readonly code: number
  readonly stderr: string
}

/** Of standard error: a command that fails says why in a line. */
const mostErrorText = 2000

/** Throws ApiError where the API server does not let it, else what broke the connection. */
export async function execIn(
  config: KubeConfig,
  { namespace, pod, container }: Container,
  command: readonly string[],
  { onLine, signal }: ExecOptions,
): Promise<ExecResult> {
  let stderr = ''
  const errors = lines(line => {
    stderr = `${stderr}${line}\n`.slice(-mostErrorText)
  })
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  const connection = await new Exec(config)
    .exec(namespace, pod, container, [...command], lines(onLine), errors, new PassThrough(), false, status =>
      resolve(exitCodeOf(status)),
    )
    .catch(({ message }: Error) => {
      const [, code] = /server response: (\d+)/.exec(message) ?? []
      const what = `exec in pod ${namespace}/${pod}`
      if (code === undefined) throw new Error(`${what}: ${message}`)
      const needed = code === '403' ? ', it takes the rights to get and to create pods/exec there' : ''
      throw new ApiError(Number(code), `${what}: HTTP ${code}${needed}`)
    })
  const stop = () => connection.close()
  signal.addEventListener('abort', stop)
  connection.onclose = () => reject(new Error(`the connection to pod ${namespace}/${pod} has ended`))
  if (signal.aborted) stop()
  try {
    return { code: await promise, stderr }
  } finally {
    signal.removeEventListener('abort', stop)
  }
}

/** `status: Failure` has the code of a command that ran; without one it could not be run. */
function exitCodeOf(status: unknown): number {
  const { status: outcome, details } = rawObject(status)
  if (outcome === 'Success') return 0
  const cause = rawList(rawObject(details).causes)
    .map(rawObject)
    .find(({ reason }) => reason === 'ExitCode')
  return Number(cause?.message ?? 126)
}

function lines(onLine: (line: string) => void): Writable {
  let rest = ''
  return new Writable({
    write(chunk: Buffer, _encoding, done) {
      const parts = (rest + chunk.toString()).split('\n')
      rest = parts.pop()!
      for (const line of parts) onLine(line)
      done()
    },
    final(done) {
      if (rest !== '') onLine(rest)
      done()
    },
  })
}
