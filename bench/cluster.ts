/** The service graph on a real cluster: bench/cluster says with which arguments. */

import { execFile, execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { parseArgs, promisify } from 'node:util'
import { stringify } from 'yaml'
import { table } from '../src/commands/output/table.ts'
import { entranceOf, readGraph } from './graph/graph.ts'
import { client, clusterVariants, graphManifests, namespace, urlOf } from './graph/manifests.ts'
import type { FortioReport } from './lab/programs.ts'
import { rotated, type VariantId, variant } from './lab/variants.ts'
import { figure, median, spread } from './runner/statistics.ts'

const run = promisify(execFile)
const hackCluster = fileURLToPath(new URL('../hack/cluster', import.meta.url))
const imageProgram = fileURLToPath(new URL('graph/image', import.meta.url))
const connections = 20

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    graph: { type: 'string', default: 'thesis' },
    scenario: { type: 'string', default: 'plain' },
    image: { type: 'string' },
    rate: { type: 'string', default: '50' },
    seconds: { type: 'string', default: '10' },
    rounds: { type: 'string', default: '3' },
  },
})
const graph = readGraph(flags.graph)

await { print, up, load, down }[positionals[0] as 'print' | 'up' | 'load' | 'down']()

async function print(): Promise<void> {
  process.stdout.write(manifests(flags.image ?? 'localhost/lightpath-bench'))
}

async function up(): Promise<void> {
  const image = flags.image ?? loadImage()
  const applying = kubectl('apply', '-f', '-')
  applying.child.stdin!.end(manifests(image))
  process.stdout.write((await applying).stdout)
  for (const name of [...Object.keys(graph.services), client]) await inGraph('rollout', 'status', `deployment/${name}`)
}

/** As many rounds, the variants in turns; the first load of each counts for nothing. */
async function load(): Promise<void> {
  const reports = new Map(clusterVariants.map(id => [id, [] as FortioReport[]]))
  for (const id of clusterVariants) await fortio(id, 1)
  for (let round = 0; round < Number(flags.rounds); round++) {
    for (const id of rotated(clusterVariants, round)) reports.get(id)!.push(await fortio(id, Number(flags.seconds)))
  }
  const rows = [...reports].map(([id, its]) => [
    id === 'nftables' ? 'kube-proxy' : variant(id).name,
    ...['mean', 'p50', 'p99'].map(value =>
      spread(its.map(one => (value === 'mean' ? one.mean : one.percentiles[value]!))),
    ),
    figure(median(its.map(({ reached }) => reached))),
    String(its.reduce((sum, { requests, codes }) => sum + requests - (codes['200'] ?? 0), 0)),
  ])
  console.log(table(['', 'mean, ms', 'p50', 'p99', 'requests/s', 'failed'], rows))
}

async function down(): Promise<void> {
  process.stdout.write((await kubectl('delete', 'namespace', namespace)).stdout)
}

function manifests(image: string): string {
  return graphManifests(graph, flags.scenario, image)
    .map(object => `---\n${stringify(object)}`)
    .join('')
}

function loadImage(): string {
  const [name = '', archive = ''] = execFileSync(imageProgram, { encoding: 'utf8' }).trim().split(' ')
  execFileSync(hackCluster, ['load', archive])
  return name
}

async function fortio(id: VariantId, seconds: number): Promise<FortioReport> {
  const load = { url: urlOf(id, entranceOf(graph)), rate: flags.rate, connections, size: graph.size, variant: id }
  const words = Object.entries(load).map(([name, value]) => `-${name}=${value}`)
  const command = ['/bench', 'fortio', ...words, `-duration=${seconds}s`]
  return JSON.parse((await inGraph('exec', `deployment/${client}`, '--', ...command)).stdout) as FortioReport
}

function inGraph(...args: readonly string[]) {
  return kubectl('--namespace', namespace, ...args)
}

function kubectl(...args: readonly string[]) {
  const { KUBECTL: program } = process.env
  return program === undefined ? run(hackCluster, ['kubectl', ...args]) : run(program, args)
}
