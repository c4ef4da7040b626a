/** The servers and clients of bench/programs, inside pods. */

import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import type { Network, Pod } from '../../src/lab/network.ts'
import type { Child } from '../../src/lab/processes.ts'

const build = fileURLToPath(new URL('../programs/build', import.meta.url))
let built: string | undefined

/** Builds it where that is not done yet. */
function program(): string {
  built ??= execFileSync(build, { encoding: 'utf8' }).trim()
  return built
}

/** As the program has its flags, without those that are undefined. */
type Flags = Readonly<Record<string, string | number | boolean | undefined>>

/** Milliseconds; percentiles by name: p50, p75, p90, p99, p99.9. */
export interface Distribution {
  readonly mean: number
  readonly max: number
  readonly percentiles: Readonly<Record<string, number>>
  /** Milliseconds, and the per cent of all up to there. */
  readonly curve: readonly (readonly [ms: number, percent: number])[]
}

export interface FortioReport extends Distribution {
  readonly asked: number
  readonly reached: number
  readonly requests: number
  readonly codes: Readonly<Record<string, number>>
  readonly sockets: number
}

export interface OpenReport extends Distribution {
  readonly requests: number
  readonly failed: number
  readonly errors: Readonly<Record<string, number>>
  readonly endpoints: Readonly<Record<string, number>>
  readonly firstFailure: number
  readonly lastFailure: number
  readonly series: readonly { readonly requests: number; readonly failed: number; readonly max: number }[]
  readonly began: number
}

export interface ConnectReport extends Distribution {
  readonly connections: number
  readonly failed: number
  readonly rate: number
}

export interface HttpLoad {
  readonly url: string
  /** Requests a second; 0, with Fortio: as many as possible. */
  readonly rate: number
  readonly connections: number
  readonly seconds: number
  /** Bytes of each request's body. */
  readonly size?: number
  readonly method?: string
  /** What servers of a graph are to call others by. */
  readonly variant?: string
}

export interface FortioLoad extends HttpLoad {
  /** The connections take turns. Otherwise all ask at about the same time, with 10 % jitter. */
  readonly uniform?: boolean
}

/** Fortio's load: closed loop, each request's time from when it was sent. */
export async function fortio(network: Network, pod: Pod, load: FortioLoad) {
  return (await start(network, pod, 'fortio', flagsOf(load))).report as Promise<FortioReport>
}

interface OpenOptions extends HttpLoad {
  /** A new connection for each request. */
  readonly fresh?: boolean
  /** After which a request has failed, as Go writes it; default 10s. */
  readonly timeout?: string
}

export interface OpenLoad {
  readonly child: Child
  readonly report: Promise<OpenReport>
}

/** Open-loop load: each request's time from when it was due. It ends after its time, or earlier at SIGTERM. */
export async function startOpenLoad(network: Network, pod: Pod, load: OpenOptions): Promise<OpenLoad> {
  return (await start(network, pod, 'open', flagsOf(load))) as OpenLoad
}

export async function openLoad(...load: Parameters<typeof startOpenLoad>): Promise<OpenReport> {
  return (await startOpenLoad(...load)).report
}

/** A new connection after the other, to each of the addresses in turn. */
export async function connectLoad(
  network: Network,
  pod: Pod,
  load: { readonly addresses: readonly string[]; readonly seconds: number },
): Promise<ConnectReport> {
  const { addresses, seconds } = load
  return (await start(network, pod, 'connect', { duration: `${seconds}s` }, addresses)).report as Promise<ConnectReport>
}

/** Starts a server of bench/programs/serve.go; resolves when it listens. */
export async function startBenchServer(network: Network, pod: Pod, flags: Flags): Promise<Child> {
  const { child } = await spawn(network, pod, 'serve', { name: pod.name, ...flags })
  const ended = child.exited.then(() => {
    throw new Error(`the server of ${pod.name} ended at once`)
  })
  await Promise.race([once(child.stdout!, 'data'), ended])
  ended.catch(() => undefined)
  return child
}

function flagsOf({ seconds, ...rest }: HttpLoad & Partial<OpenOptions>): Flags {
  return { ...rest, duration: `${seconds}s` }
}

async function start(network: Network, pod: Pod, command: string, flags: Flags, more: readonly string[] = []) {
  const { child, logFile } = await spawn(network, pod, command, flags, more)
  const report = text(child.stdout!).then(json => {
    if (json === '') throw new Error(`${command} from ${pod.name} ended without a report; see ${logFile}`)
    return JSON.parse(json) as object
  })
  report.catch(() => undefined)
  return { child, report }
}

/** @param pod or a node, in whose namespace it runs; stdout is the caller's */
export async function spawn(
  network: Network,
  pod: Pick<Pod, 'name' | 'netns'>,
  command: string,
  flags: Flags,
  more: readonly string[] = [],
) {
  const words = Object.entries(flags).flatMap(([name, value]) => (value === undefined ? [] : [`-${name}=${value}`]))
  const logFile = `${network.directory}/${pod.name}-${command}.log`
  const options = { logFile, pipeStdout: true }
  const args = [command, ...words, ...more]
  return { child: await network.processes.spawnIn(pod.netns, program(), args, options), logFile }
}
