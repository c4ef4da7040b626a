/** What a steady client of one Service notices while another client holds thousands of idle connections to another Service. */

import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { curl, startLoad } from '../../src/lab/clients.ts'
import type { LoadReport } from '../../src/lab/load-report.ts'
import type { Network } from '../../src/lab/network.ts'
import { startPod } from '../../src/lab/pods.ts'
import { pause, waitFor } from '../../src/lab/wait.ts'
import { serviceObjects, writeObjects } from '../lab/generate.ts'
import { memoryOf } from '../lab/node.ts'
import type { Report } from '../runner/experiment.ts'
import { aim, figure } from '../runner/statistics.ts'
import { build, sourceOf } from './scale.ts'

export interface FloodOptions {
  readonly connections: number
  readonly seconds: number
}

const rate = 300
const warmMs = 1000
const settleMs = 2000
const limitMs = 120_000
const vips = { steady: '10.111.0.2', flooded: '10.111.0.3' }
const client = fileURLToPath(new URL('../programs/flood-client.ts', import.meta.url))

/** What an Envoy takes that may have as many files open as this process (images/envoy-start). */
function mostConnections(): number {
  const [, soft] = /^Max open files +(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? []
  return Math.floor((Number(soft) * 2) / 5)
}

export async function measureFlood(network: Network, { connections, seconds }: FloodOptions): Promise<Report> {
  const [node] = network.nodes
  const fleet = await build(network, node!, { services: 10, endpoints: 1 })
  const start = (name: string, host: number) => {
    const addresses = [`10.244.1.${host}`, `fd00:244:1::${host}`]
    return startPod(network, { name, node: node!.name, addresses, http: [8080], tcp: [], udp: [] })
  }
  const [steady, flooder, web] = [await start('steady', 201), await start('flooder', 202), await start('web', 203)]
  const endpoints = [{ ip: web.ip, port: 8080 }]
  const objects = Object.entries(vips).map(([name, vip]) => serviceObjects(name, 'http', vip, endpoints))
  // Both are in one namespace, which the first brings along.
  const items = objects.flatMap((its, index) => its.slice(Math.min(index, 1)))
  const file = join(sourceOf(network, node!), 'flood.json')
  writeObjects(file, items)
  for (const vip of Object.values(vips)) {
    await waitFor(`${vip} in Envoy`, limitMs, async () => {
      const { stdout } = await curl(steady, ['-o', '/dev/null', '--write-out', '%header{x-layer}', `http://${vip}/`])
      return stdout === 'envoy'
    })
  }
  const startSteady = () => startLoad(network, steady, { url: `http://${vips.steady}/`, connections: 64, rate })
  const load = async () => {
    const running = await startSteady()
    await pause(seconds * 1000)
    return running.stop()
  }
  const rest = await load()
  const args = [client, vips.flooded, '80', String(Math.min(connections, mostConnections()))]
  const running = await startSteady()
  await pause(warmMs)
  const flood = await network.processes.spawnIn(flooder.netns, process.execPath, args, { pipeStdout: true })
  const [held] = (await once(flood.stdout!, 'data')) as [Buffer]
  // The client has them all before Envoy does.
  await pause(settleMs)
  const coming = await running.stop()
  const attacked = await load()
  const { rss } = memoryOf(fleet.envoy)
  await flood.stop()
  return report({ rest, coming, attacked }, { held: Number(held.toString()), rss, seconds })
}

interface Found {
  readonly held: number
  readonly rss: number
  readonly seconds: number
}

interface Loads {
  readonly rest: LoadReport
  /** While the flood's connections come. */
  readonly coming: LoadReport
  readonly attacked: LoadReport
}

function report({ rest, coming, attacked }: Loads, { held, rss, seconds }: Found): Report {
  const latency = (load: LoadReport, which: 'p50' | 'p99') => load.latencyMs?.[which] ?? Number.NaN
  const row = (what: string, which: 'p50' | 'p99', aims: (ratio: number) => string) => {
    const [at, first, under] = [rest, coming, attacked].map(load => latency(load, which)) as [number, number, number]
    const ratio = under / at
    return [what, `${figure(at)} ms`, `${figure(first)} ms`, `${figure(under)} ms`, figure(ratio), aims(ratio)]
  }
  const failed = ({ requests, ok }: LoadReport) => requests - ok
  return {
    title: `Flood: ${rate} requests a second to one Service beside ${held.toLocaleString('en')} idle connections to another`,
    header: ['', 'at rest', 'while they come', 'beside them', 'ratio', 'aim'],
    rows: [
      row('request, p50', 'p50', () => ''),
      row('  p99', 'p99', ratio => aim('ratio ≤ 2', ratio <= 2)),
      [
        '  failed',
        ...[rest, coming, attacked].map(load => String(failed(load))),
        '',
        aim('0', failed(coming) + failed(attacked) === 0),
      ],
      ['Envoy memory (RSS)', '', '', `${figure(rss)} MB`, '', ''],
    ],
    notes: [
      `${seconds} s at rest and beside them; the connections are what an Envoy takes that may open as many files as this run (ulimit -n)`,
    ],
    data: { rest, coming, attacked, held, rss },
  }
}
