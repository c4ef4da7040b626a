/** Runs clients inside pods. */

import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import type { LoadReport } from './load-report.ts'
import type { Network, Pod } from './network.ts'
import { type RunResult, runIn } from './processes.ts'

export interface ClientOptions {
  /** Seen as /etc/hosts, so that names of Services resolve. */
  readonly hostsFile?: string
}

/** Runs the real curl, which gives up after 5 s unless `args` say otherwise. */
export function curl(
  pod: Pick<Pod, 'netns'>,
  args: readonly string[],
  options: ClientOptions = {},
): Promise<RunResult> {
  return runIn(pod.netns, 'curl', ['--silent', '--show-error', '--max-time', '5', ...args], options)
}

/** Makes the http server of a pod answer this status from now on, to a share of the requests; 200 heals it. */
export function setFault(pod: Pick<Pod, 'netns'>, port: number, status: number, percent = 100): Promise<void> {
  return tell(pod, port, `status=${status}&percent=${percent}`)
}

/** Makes it answer after so many milliseconds from now on. */
export function setDelay(pod: Pick<Pod, 'netns'>, port: number, ms: number): Promise<void> {
  return tell(pod, port, `delay=${ms}`)
}

async function tell(pod: Pick<Pod, 'netns'>, port: number, fault: string): Promise<void> {
  const url = `http://127.0.0.1:${port}/fault?${fault}`
  const { code, stderr } = await curl(pod, ['--request', 'POST', url])
  if (code !== 0) throw new Error(`fault of ${pod.netns}: ${stderr.trim()}`)
}

/** Sends one datagram and returns the answer; '' when none comes within 5 s. */
export async function askUdp(
  pod: Pick<Pod, 'netns'>,
  host: string,
  port: number,
  message: string,
  options: ClientOptions = {},
): Promise<string> {
  const script = 'exec 3<>"/dev/udp/$0/$1" && printf %s "$2" >&3 && timeout 5 dd bs=65536 count=1 <&3 2>/dev/null'
  return (await runIn(pod.netns, 'bash', ['-c', script, host, `${port}`, message], options)).stdout
}

/** Connects, sends one line and returns the two lines that pod-server.ts answers; what came until then after 5 s. */
export async function askTcp(
  pod: Pick<Pod, 'netns'>,
  host: string,
  port: number,
  message: string,
  options: ClientOptions = {},
): Promise<string> {
  const script = 'exec 3<>"/dev/tcp/$0/$1" && printf "%s\\n" "$2" >&3 && timeout 5 head -n 2 <&3'
  return (await runIn(pod.netns, 'bash', ['-c', script, host, `${port}`, message], options)).stdout
}

export interface LoadOptions extends ClientOptions {
  readonly url: string
  readonly connections: number
  /** How many requests in all; default and limit: 1,000,000. */
  readonly requests?: number
  /** Requests a second; default: as fast as the answers come. */
  readonly rate?: number
  readonly method?: string
  /** A new TCP connection for every request, in place of keep-alive; still `connections` at a time. */
  readonly fresh?: boolean
  /** A request without an answer for so long has failed as TIMEOUT. Default: 10,000. */
  readonly timeoutMs?: number
}

export interface Load {
  readonly pid: number
  /** The report, when all requests are done or after `stop`. */
  readonly report: Promise<LoadReport>
  /** Sends no more requests, and waits for those under way. */
  stop(): Promise<LoadReport>
}

const program = fileURLToPath(new URL('./load-client.ts', import.meta.url))

/** Starts HTTP load from a pod on keep-alive connections (load-client.ts); resolves once it has begun. */
export async function startLoad(network: Network, pod: Pod, options: LoadOptions): Promise<Load> {
  const { url, connections, requests, rate, method, timeoutMs, fresh, hostsFile } = options
  const values = { url, connections, requests, rate, method, 'timeout-ms': timeoutMs }
  const flags = Object.entries(values).flatMap(([flag, value]) =>
    value === undefined ? [] : [`--${flag}`, `${value}`],
  )
  if (fresh) flags.push('--fresh')
  const logFile = `${network.directory}/${pod.name}-load.log`
  const child = await network.processes.spawnIn(pod.netns, process.execPath, [program, ...flags], {
    logFile,
    pipeStdout: true,
    hostsFile,
  })
  await Promise.race([once(child.stdout!, 'readable'), child.exited])
  const report = text(child.stdout!).then(json => {
    if (json.trim() === '') throw new Error(`load from ${pod.name}: the client ended without a report; see ${logFile}`)
    return JSON.parse(json) as LoadReport
  })
  // Whoever waits for it gets the error; it must not end the process before.
  report.catch(() => undefined)
  const stop = (): Promise<LoadReport> => {
    child.kill('SIGTERM')
    return report
  }
  return { pid: child.pid, report, stop }
}
