/**
 * Runs an Envoy as a process of its own, for tests and benchmarks. On a node, whatever supervises processes there
 * starts it.
 */

import { spawn } from 'node:child_process'
import { mkdir, open, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Bootstrap } from '../api/envoy/config/bootstrap/v3/bootstrap_pb.js'
import { bootstrapJson } from '../bootstrap/bootstrap.ts'
import { isReady } from './admin.ts'

export interface EnvoyArguments {
  readonly bootstrapFile: string
  /** Worker threads; Envoy's own default is one a core, which on large nodes is too many. Default 2. */
  readonly concurrency?: number
  /** Default `warning`. */
  readonly logLevel?: 'trace' | 'debug' | 'info' | 'warning' | 'error'
}

/** How long connections of a changed or removed listener may stay: no change of a setting cuts a long download. */
const drainSeconds = 3600

/** The command line of every Envoy of Lightpath. */
export function envoyArguments({ bootstrapFile, concurrency = 2, logLevel = 'warning' }: EnvoyArguments): string[] {
  return [
    ...['--config-path', bootstrapFile, '--concurrency', String(concurrency), '--log-level', logLevel],
    // Without this, one line a Service port about each option that Envoy's authors call work in progress would fill the
    // log.
    ...['--component-log-level', 'misc:error'],
    // The access log is written at least this often (default 10 s).
    ...['--file-flush-interval-msec', '1000'],
    ...['--drain-time-s', String(drainSeconds)],
    // Hot restart would end Envoy with the process that started it, and share memory with other Envoys of the machine.
    '--disable-hot-restart',
  ]
}

interface StartOptions extends Omit<EnvoyArguments, 'bootstrapFile'> {
  /** The directory of Envoy's module. */
  readonly module?: string
}

export interface EnvoyProcess {
  readonly pid: number
  /** The file of standard output and error, with the access log. */
  readonly logFile: string
  /** Sends SIGTERM, and SIGKILL when it is still there after 5 s. */
  stop(): Promise<void>
}

const readyMs = 60_000
const graceMs = 5000

/**
 * Starts Envoy in a session of its own and waits until it serves.
 * @param directory for the bootstrap and the log; made where it is missing
 * @throws when it ends or is not ready after a minute, with the end of its log
 */
export async function startEnvoy(
  path: string,
  bootstrap: Bootstrap,
  directory: string,
  { module, ...options }: StartOptions = {},
): Promise<EnvoyProcess> {
  await mkdir(directory, { recursive: true })
  const bootstrapFile = join(directory, 'bootstrap.json')
  const logFile = join(directory, 'envoy.log')
  await writeFile(bootstrapFile, JSON.stringify(bootstrapJson(bootstrap), undefined, 2))
  const log = await open(logFile, 'a')
  const child = spawn(path, envoyArguments({ bootstrapFile, ...options }), {
    detached: true,
    env: { ...process.env, ENVOY_DYNAMIC_MODULES_SEARCH_PATH: module },
    stdio: ['ignore', log.fd, log.fd],
  })
  const exited = new Promise<string>(resolve => {
    child.on('error', error => resolve(error.message))
    child.on('exit', (code, signal) => resolve(`ended with ${signal ?? `code ${code}`}`))
  })
  await log.close()
  const stop = () => end(child, exited)
  const ended = await Promise.race([exited, untilReady(adminPathOf(bootstrap))])
  if (child.pid === undefined || ended !== undefined) {
    await stop()
    throw new Error(`Envoy ${path} ${ended}:\n${(await readFile(logFile, 'utf8')).slice(-2000)}`)
  }
  return { pid: child.pid, logFile, stop }
}

function adminPathOf({ admin }: Bootstrap): string {
  const address = admin?.address?.address
  return address?.case === 'pipe' ? address.value.path : ''
}

/** Undefined when it is ready, else what is wrong. */
async function untilReady(path: string): Promise<string | undefined> {
  const deadline = performance.now() + readyMs
  while (performance.now() < deadline) {
    if (await isReady({ path })) return undefined
    await sleep(50)
  }
  return `is not ready after ${readyMs / 1000} s`
}

async function end(child: { kill(signal: NodeJS.Signals): boolean }, exited: Promise<unknown>): Promise<void> {
  child.kill('SIGTERM')
  await Promise.race([exited, sleep(graceMs, undefined, { ref: false })])
  child.kill('SIGKILL')
  await exited
}
