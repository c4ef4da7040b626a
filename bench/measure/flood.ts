/**
 * What a steady client of one Service notices while another client holds thousands of idle connections to another
 * Service, which has a pod of its own.
 */

import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { curl, startLoad } from '../../src/lab/clients.ts'
import type { LoadReport } from '../../src/lab/load-report.ts'
import type { Network } from '../../src/lab/network.ts'
import { startPod } from '../../src/lab/pods.ts'
import type { Child } from '../../src/lab/processes.ts'
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

/** So many connections that no request waits for a free one. */
const steady = { connections: 64, rate: 300 }
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
  const clients = {
    load: await start('steady', 201),
    floor: await start('floor', 202),
    flood: await start('flooder', 203),
  }
  const servers = { steady: await start('web', 204), flooded: await start('flooded', 205) }
  const objects = (['steady', 'flooded'] as const).map(name =>
    serviceObjects(name, 'http', vips[name], [{ ip: servers[name].ip, port: 8080 }]),
  )
  // Both are in one namespace, which the first brings along.
  const items = objects.flatMap((its, index) => its.slice(Math.min(index, 1)))
  const file = join(sourceOf(network, node!), 'flood.json')
  writeObjects(file, items)
  for (const vip of Object.values(vips)) {
    await waitFor(`${vip} in Envoy`, limitMs, async () => {
      const { stdout } = await curl(clients.load, [
        '-o',
        '/dev/null',
        '--write-out',
        '%header{x-layer}',
        `http://${vip}/`,
      ])
      return stdout === 'envoy'
    })
  }
  const during = async (what: () => Promise<unknown>): Promise<Phase> => {
    const load = await startLoad(network, clients.load, { url: `http://${vips.steady}/`, ...steady })
    const floor = await startLoad(network, clients.floor, { url: `http://${servers.steady.ip}:8080/`, ...steady })
    await what()
    return { load: await load.stop(), floor: await floor.stop() }
  }
  const whole = () => pause(seconds * 1000)
  const rest = await during(whole)
  const args = [client, vips.flooded, '80', String(Math.min(connections, mostConnections()))]
  let flood: Child | undefined
  let held = 0
  const coming = await during(async () => {
    await pause(warmMs)
    flood = await network.processes.spawnIn(clients.flood.netns, process.execPath, args, { pipeStdout: true })
    const [count] = (await once(flood.stdout!, 'data')) as [Buffer]
    held = Number(count.toString())
    // The client has them all before Envoy does.
    await pause(settleMs)
  })
  const attacked = await during(whole)
  const { rss } = memoryOf(fleet.envoy)
  await flood!.stop()
  return report({ rest, coming, attacked }, { held, rss, seconds })
}

interface Phase {
  readonly load: LoadReport
  /** The same requests to the address of the Service's pod: what the machine itself costs them. */
  readonly floor: LoadReport
}

interface Phases {
  readonly rest: Phase
  /** While the flood's connections come. */
  readonly coming: Phase
  readonly attacked: Phase
}

interface Found {
  readonly held: number
  readonly rss: number
  readonly seconds: number
}

function report({ rest, coming, attacked }: Phases, { held, rss, seconds }: Found): Report {
  const row = (what: string, to: keyof Phase, which: 'p50' | 'p99', aims: (ratios: readonly number[]) => string) => {
    const [at, ...under] = [rest, coming, attacked].map(phase => phase[to].latencyMs?.[which] ?? Number.NaN)
    const ratios = under.map(ms => ms / at!)
    return [
      what,
      `${figure(at!)} ms`,
      ...under.flatMap((ms, index) => [`${figure(ms)} ms`, figure(ratios[index]!)]),
      aims(ratios),
    ]
  }
  const none = () => ''
  const failed = ({ load: { requests, ok } }: Phase) => requests - ok
  return {
    title: `Flood: ${steady.rate} requests a second to one Service beside ${held.toLocaleString('en')} idle connections to another`,
    header: ['', 'at rest', 'while they come', 'ratio', 'beside them', 'ratio', 'aim'],
    rows: [
      row('request, p50', 'load', 'p50', none),
      row('  p99', 'load', 'p99', ratios =>
        aim(
          'ratios ≤ 2',
          ratios.every(ratio => ratio <= 2),
        ),
      ),
      row("  to its pod's address, p50", 'floor', 'p50', none),
      row('  p99', 'floor', 'p99', none),
      [
        '  failed',
        String(failed(rest)),
        ...[coming, attacked].flatMap(phase => [String(failed(phase)), '']),
        aim('0', failed(coming) + failed(attacked) === 0),
      ],
      ['Envoy memory (RSS)', '', '', '', `${figure(rss)} MB`, '', ''],
    ],
    notes: [
      `${seconds} s at rest and beside them; the connections are what an Envoy takes that may open as many files as this run (ulimit -n)`,
    ],
    data: { rest, coming, attacked, held, rss },
  }
}
