/** HTTP load by wrk, one thread, from inside a namespace. */

import { fileURLToPath } from 'node:url'
import { runInOrThrow } from './node.ts'

export interface Load {
  readonly name: string
  readonly connections: number
  /** A new TCP connection for every request, in place of keep-alive. */
  readonly fresh?: boolean
}

export interface Seen {
  readonly requests: number
  readonly perSecond: number
  /** Microseconds; the mean is exact with one connection, percentiles are whole numbers. */
  readonly mean: number
  readonly p50: number
  readonly p99: number
}

const script = fileURLToPath(new URL('../programs/wrk.lua', import.meta.url))

/** @throws when a request failed */
export async function wrk(netns: string, url: string, load: Load, seconds: number): Promise<Seen> {
  const { name, connections, fresh } = load
  const header = fresh ? ['--header', 'Connection: close'] : []
  const options = ['--threads', '1', '--connections', `${connections}`, '--duration', `${seconds}s`, '--script', script]
  const output = await runInOrThrow(netns, 'wrk', [...options, ...header, url])
  const { requests, duration, failed, p50, p99 } = JSON.parse(output.trimEnd().split('\n').at(-1)!)
  if (failed > 0 || requests === 0) throw new Error(`${url}, ${name}: ${failed} of ${requests} requests failed`)
  return { requests, perSecond: requests / (duration / 1e6), mean: (duration / requests) * connections, p50, p99 }
}
