/**
 * Many simulated agents: each by a TLS connection of its own from an address of its own, with the token of its Node, as an agent's
 * stream is. They count and hash what they are told in place of decoding it (bench/programs/fleet.go), so that they leave the
 * machine to what is measured.
 */

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { LabNode, Network } from '../../../src/lab/network.ts'
import { runInOrThrow } from '../../lab/node.ts'
import { spawn } from '../../lab/programs.ts'
import type { Replica } from './replica.ts'
import { readReports } from './reports.ts'

/** What all were told at first. */
export interface Told {
  /** From the start of all until each had everything, ascending. */
  readonly seconds: readonly number[]
  readonly bytes: number
  /** By type, of one agent. */
  readonly resources: Readonly<Record<string, number>>
  readonly alike: boolean
  readonly retries: number
}

/** What they were told since, by name and version of the resource. */
export interface Arrivals {
  readonly retries: number
  readonly arrivals: Readonly<Record<string, { readonly first: number; readonly after: readonly number[] }>>
}

export interface Fleet {
  readonly pid: number
  readonly told: Told
  /** Ends all. */
  stop(): Promise<Arrivals>
}

const addresses = '10.200.0.0/16'

/** Has the node's programs connect from as many addresses as they like, and others answer by it. */
export async function giveAddresses(node: LabNode, servers: readonly LabNode[]): Promise<void> {
  await runInOrThrow(node.netns, 'ip', ['route', 'add', 'local', addresses, 'dev', 'lo'])
  for (const { netns } of servers) await runInOrThrow(netns, 'ip', ['route', 'add', addresses, 'via', node.address])
}

/** Resolves when all have been told everything. */
export async function startFleet(
  network: Network,
  node: LabNode,
  { address, authority }: Replica,
  tokens: ReadonlyMap<string, string>,
): Promise<Fleet> {
  const file = join(network.directory, `fleet-${address}.json`)
  const nodes = [...tokens].map(([name, token], index) => ({ name, token, source: sourceOf(index) }))
  writeFileSync(file, JSON.stringify(nodes))
  const { child, logFile } = await spawn(network, node, 'fleet', { address, authority, nodes: file })
  const read = readReports(child.stdout!, logFile)
  return {
    pid: child.pid,
    told: await read<Told>(),
    async stop() {
      child.kill('SIGTERM')
      const arrivals = await read<Arrivals>()
      await child.exited
      return arrivals
    },
  }
}

function sourceOf(index: number): string {
  return `10.200.${Math.floor(index / 250)}.${(index % 250) + 2}`
}
