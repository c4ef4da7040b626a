/** Every command line of Lightpath and Envoy that the demo uses. */

import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { findEnvoy } from '../envoy/program/find.ts'
import { envoyArguments } from '../envoy/program/process.ts'
import { formatProblem } from '../services/problem.ts'

export type CommandLine = readonly [command: string, ...args: string[]]

/** The same program whether its sources or its bundle run. */
const lightpath = fileURLToPath(new URL('../../bin/lightpath', import.meta.url))

export interface AgentFiles {
  /** Directory of manifests; undefined where other flags say where Services come from. */
  readonly source: string | undefined
  /** Unix socket of the agent. */
  readonly socket: string
  /** Directory of the sockets between agent and Envoy. */
  readonly envoySockets: string
}

export function agent(nodeName: string, { source, socket, envoySockets }: AgentFiles): CommandLine {
  // The size of conntrack's table is the machine's, which no node in a namespace may change.
  const conntrack = ['--conntrack-max-per-core', '0']
  const files = [
    ...(source === undefined ? [] : ['--source', source]),
    '--socket',
    socket,
    '--envoy-sockets',
    envoySockets,
  ]
  return [lightpath, 'node', '--node-name', nodeName, ...files, ...conntrack]
}

/** A control plane of the node alone. */
export function controlPlane(source: string, port: number): CommandLine {
  const addresses = ['--control-plane-address', `127.0.0.1:${port}`, '--metrics-port', String(port + 100)]
  return [lightpath, 'controlplane', '--source', source, ...addresses]
}

/** Writes Envoy's bootstrap to stdout. */
export function bootstrap(
  nodeName: string,
  { envoySockets }: Pick<AgentFiles, 'envoySockets'>,
  ...flags: readonly string[]
): CommandLine {
  return [lightpath, 'bootstrap', '--node-name', nodeName, '--envoy-sockets', envoySockets, ...flags]
}

export function explain(service: string, { socket }: Pick<AgentFiles, 'socket'>): CommandLine {
  return [lightpath, 'explain', service, '--socket', socket]
}

/** Takes the node down to the kernel layer (`off`) and back (`on`). */
export function overlay(state: 'on' | 'off'): CommandLine {
  return [lightpath, 'overlay', state]
}

/** Rejects where there is no Envoy that Lightpath works with. */
export async function envoy(bootstrapFile: string): Promise<CommandLine> {
  const found = await findEnvoy()
  if (!found.ok) throw new Error(formatProblem(found.problem))
  return [found.path, ...envoyArguments({ bootstrapFile })]
}

/** Returns the directory of Envoy's module, for ENVOY_DYNAMIC_MODULES_SEARCH_PATH; builds it where it is missing. */
export async function envoyModule(): Promise<string> {
  const { stdout } = await promisify(execFile)(fileURLToPath(new URL('../../tools/module', import.meta.url)))
  return stdout.trim()
}

/** Envoy's admin pages, inside a node's namespace. */
export const envoyAdmin = 'http://127.0.0.1:15000'
