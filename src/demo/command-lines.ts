/** Every command line of Lightpath and Envoy that the demo uses. */

import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { envoyArguments } from '../envoy/process.ts'

export type CommandLine = readonly [command: string, ...args: string[]]

/** The same program whether its sources or its bundle run. */
const lightpath = fileURLToPath(new URL('../../bin/lightpath', import.meta.url))

export interface AgentFiles {
  /** Directory of manifests. */
  readonly source: string
  /** Unix socket of the agent. */
  readonly socket: string
}

export function agent(nodeName: string, { source, socket }: AgentFiles): CommandLine {
  return [lightpath, 'node', '--node-name', nodeName, '--source', source, '--socket', socket]
}

/** Writes Envoy's bootstrap to stdout. */
export function bootstrap(nodeName: string): CommandLine {
  return [lightpath, 'bootstrap', '--node-name', nodeName]
}

export function explain(service: string, { socket }: Pick<AgentFiles, 'socket'>): CommandLine {
  return [lightpath, 'explain', service, '--socket', socket]
}

/** Takes the node down to the kernel layer (`off`) and back (`on`). */
export function overlay(state: 'on' | 'off'): CommandLine {
  return [lightpath, 'overlay', state]
}

export function envoy(bootstrapFile: string): CommandLine {
  return [findEnvoy(), ...envoyArguments({ bootstrapFile })]
}

/** Envoy's admin interface, inside a node's namespace. */
export const envoyAdmin = 'http://127.0.0.1:15000'

/** ENVOY_BIN, else the PATH, else where tools/setup puts it. */
function findEnvoy(): string {
  const cache = process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache')
  const onPath = (process.env.PATH ?? '').split(':').map(directory => join(directory, 'envoy'))
  const places = [process.env.ENVOY_BIN ?? '', ...onPath, join(cache, 'lightpath', 'envoy-1.40.0')]
  const found = places.find(place => place !== '' && existsSync(place))
  if (!found) throw new Error('no Envoy found: run tools/setup, or set ENVOY_BIN to an Envoy 1.40')
  return found
}
