/** A node under measurement: a network namespace with Envoy and the agent as it ships. */

import {
  closeSync,
  cpSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { definitions } from '../../src/commands/options.ts'
import { findEnvoy } from '../../src/envoy/program/find.ts'
import { envoyArguments } from '../../src/envoy/program/process.ts'
import * as commandLines from '../../src/lab/command-lines.ts'
import type { LabNode, Network } from '../../src/lab/network.ts'
import { type Child, run, runIn } from '../../src/lab/processes.ts'
import { prepareSocketDirectory } from '../../src/node/system/socketdirectory.ts'

/** Starts the node's Envoy as Lightpath has it, by the bootstrap that `lightpath bootstrap` prints. */
export async function startEnvoy(network: Network, node: LabNode, workers: number): Promise<Child> {
  const { program, args, logFile } = await lightpathEnvoy(network, node, workers)
  return network.processes.spawnIn(node.netns, program, args, { logFile })
}

/** What starts it. */
export async function envoyCommand(network: Network, node: LabNode, workers: number): Promise<readonly string[]> {
  const { program, args } = await lightpathEnvoy(network, node, workers)
  return [program, ...args]
}

async function lightpathEnvoy(network: Network, node: LabNode, workers: number): Promise<EnvoyCommand> {
  const sockets = { envoySockets: envoySocketsOf(network, node) }
  const [command, ...flags] = commandLines.bootstrap(node.name, sockets, '--envoy-module', 'on')
  const module = `ENVOY_DYNAMIC_MODULES_SEARCH_PATH=${await commandLines.envoyModule()}`
  const envoy = await envoyWith(network, node.netns, 'lightpath', await runOrThrow(command, flags), workers)
  return { ...envoy, program: 'env', args: [module, envoy.program, ...envoy.args] }
}

interface EnvoyCommand {
  readonly program: string
  readonly args: readonly string[]
  readonly logFile: string
}

/** Starts an Envoy with this configuration (JSON) in a namespace. `name` names its files. */
export async function startEnvoyWith(
  network: Network,
  netns: string,
  name: string,
  configuration: string,
  workers: number,
): Promise<Child> {
  const { program, args, logFile } = await envoyWith(network, netns, name, configuration, workers)
  return network.processes.spawnIn(netns, program, args, { logFile })
}

async function envoyWith(
  network: Network,
  netns: string,
  name: string,
  configuration: string,
  workers: number,
): Promise<EnvoyCommand> {
  const found = await findEnvoy()
  if (!found.ok) throw new Error(`${found.problem.object} ${found.problem.reason}; ${found.problem.remedy}`)
  const bootstrapFile = join(network.directory, `${netns}-${name}-envoy.json`)
  writeFileSync(bootstrapFile, configuration)
  const args = envoyArguments({ bootstrapFile, concurrency: workers })
  return { program: found.path, args, logFile: bootstrapFile.replace('.json', '.log') }
}

/** The directory of the sockets between a node's agent and Envoy. */
export function envoySocketsOf(network: Network, node: LabNode): string {
  const directory = join(network.directory, node.name, 'envoy')
  prepareSocketDirectory(directory, definitions.envoyUser.default)
  return directory
}

export interface Address {
  readonly ip: string
  readonly port: number
}

export interface RunningAgent {
  readonly process: Child
  readonly log: JsonLog
  /** When it was started, milliseconds since the epoch. */
  readonly started: number
}

/** The program as it ships: bin/ and dist/ without the sources, which it would run in their place. */
export function shipped(network: Network): string {
  const directory = join(network.directory, 'shipped')
  if (!existsSync(directory)) {
    for (const part of ['bin', 'dist']) cpSync(join(root, part), join(directory, part), { recursive: true })
    symlinkSync(join(root, 'node_modules'), join(directory, 'node_modules'))
  }
  return join(directory, 'bin/lightpath')
}

const root = fileURLToPath(new URL('../..', import.meta.url))

/**
 * Starts the agent as it ships, logging at level debug: a line a transaction, and two a change.
 * @param source where its Services come from, as arguments
 */
export async function startAgent(network: Network, node: LabNode, source: readonly string[]): Promise<RunningAgent> {
  const [program = '', ...args] = agentCommand(network, node, [...source, '--log-level', 'debug'])
  const started = Date.now()
  const logFile = join(network.directory, node.name, `agent-${started}.log`)
  const child = await network.processes.spawnIn(node.netns, program, args, { logFile })
  return { process: child, log: new JsonLog(logFile), started }
}

/** What starts the agent as it ships. */
export function agentCommand(network: Network, node: LabNode, flags: readonly string[]): readonly string[] {
  const directory = join(network.directory, node.name)
  mkdirSync(directory, { recursive: true })
  const sockets = ['--socket', join(directory, 'agent.sock'), '--envoy-sockets', envoySocketsOf(network, node)]
  return [shipped(network), 'node', '--node-name', node.name, ...sockets, ...flags]
}

export interface LogLine {
  /** Milliseconds since the epoch. */
  readonly at: number
  readonly msg: string
  readonly [field: string]: unknown
}

/** How long a layer took for a port, where the line says so: milliseconds. */
export function programmedIn({ msg, milliseconds }: LogLine, id: string): number | undefined {
  return msg === 'programmed' ? (milliseconds as Readonly<Record<string, number>>)[id] : undefined
}

/** What a program logs as JSON, a line each, as it comes. */
export class JsonLog {
  readonly #path: string
  readonly #buffer = Buffer.alloc(1 << 20)
  #file: number | undefined
  #rest = ''

  constructor(path: string) {
    this.#path = path
  }

  /** The lines that came since the last call. */
  take(): readonly LogLine[] {
    this.#file ??= openSync(this.#path, 'r')
    let text = this.#rest
    for (;;) {
      const length = readSync(this.#file, this.#buffer)
      if (length === 0) break
      text += this.#buffer.toString('utf8', 0, length)
    }
    const lines = text.split('\n')
    this.#rest = lines.pop()!
    return lines.filter(line => line.startsWith('{')).map(parseLine)
  }

  /** The end of the log, for people. */
  tail(): string {
    return readFileSync(this.#path, 'utf8').slice(-2000)
  }

  close(): void {
    if (this.#file !== undefined) closeSync(this.#file)
    this.#file = undefined
  }
}

function parseLine(line: string): LogLine {
  // The agent's has `time`; Kubernetes' programs have `ts`, milliseconds.
  const { time, ts, ...fields } = JSON.parse(line)
  return { ...fields, at: time === undefined ? ts : Date.parse(time) }
}

/** Gauges and counters of an agent by name, summed over their labels. */
export async function readMetrics(node: LabNode): Promise<ReadonlyMap<string, number>> {
  // The agent makes the page once a second.
  await delay(1000)
  const text = await runInOrThrow(node.netns, 'curl', ['-sS', '--max-time', '30', 'http://127.0.0.1:9000/metrics'])
  const sums = new Map<string, number>()
  for (const line of text.split('\n')) {
    const [, name, value] = /^(\w+)(?:\{.*\})? (\S+)$/.exec(line) ?? []
    if (name !== undefined) sums.set(name, (sums.get(name) ?? 0) + Number(value))
  }
  return sums
}

/** Statistics of a node's Envoy by name. */
export async function readEnvoyStats(node: LabNode, filter: string): Promise<ReadonlyMap<string, number>> {
  const text = await runInOrThrow(node.netns, 'curl', ['-sS', `${commandLines.envoyAdmin}/stats?filter=${filter}`])
  return new Map(text.split('\n').map(line => [line.split(': ')[0]!, Number(line.split(': ')[1])]))
}

export interface Memory {
  /** Resident set size now, MB. */
  readonly rss: number
  /** The largest that it ever was. */
  readonly peak: number
}

export function memoryOf({ pid }: Pick<Child, 'pid'>): Memory {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const kilobytes = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1])
  return { rss: (kilobytes('VmRSS') * 1024) / 1e6, peak: (kilobytes('VmHWM') * 1024) / 1e6 }
}

/** Nanoseconds that a process has run on a core, all its threads. */
export function cpuTime({ pid }: Pick<Child, 'pid'>): number {
  const ran = (task: string) => Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ')[0])
  return readdirSync(`/proc/${pid}/task`).reduce((sum, task) => sum + ran(task), 0)
}

export async function runOrThrow(command: string, args: readonly string[], input?: string): Promise<string> {
  const { code, stdout, stderr } = await run(command, args, { input, timeoutMs: 120_000 })
  if (code !== 0) throw new Error(`${command} ${args.join(' ')}: ${stderr.trim() || `code ${code}`}`)
  return stdout
}

export async function runInOrThrow(
  netns: string,
  command: string,
  args: readonly string[],
  input?: string,
): Promise<string> {
  const { code, stdout, stderr } = await runIn(netns, command, args, { input, timeoutMs: 120_000 })
  if (code !== 0) throw new Error(`${command} ${args.join(' ')}: ${stderr.trim() || `code ${code}`}`)
  return stdout
}
