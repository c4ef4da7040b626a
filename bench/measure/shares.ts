/** How even requests are over endpoints where clients keep their connections: HTTP on fifty, gRPC on one. */

import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Network, Pod } from '../../src/lab/network.ts'
import { runIn } from '../../src/lab/processes.ts'
import { waitFor } from '../../src/lab/wait.ts'
import { Bed } from '../lab/bed.ts'
import { inBuilt } from '../lab/in-network.ts'
import { openLoad, startBenchServer } from '../lab/programs.ts'
import { rotated, slug, type VariantId, variant } from '../lab/variants.ts'
import type { Findings, Run, Table } from '../runner/experiment.ts'
import { aim, figure, spread } from '../runner/statistics.ts'
import { proxiesOf } from './graph/bed.ts'

export interface SharesOptions {
  readonly variants: readonly VariantId[]
  readonly endpoints: number
  readonly connections: number
  /** Requests a second. */
  readonly rate: number
  readonly seconds: number
  readonly rounds: number
}

/** Good answers by endpoint, those without any too, and how many requests failed. */
interface Shares {
  readonly byEndpoint: Readonly<Record<string, number>>
  readonly failed: number
}

const kinds = ['http', 'grpc'] as const
type Kind = (typeof kinds)[number]

const port = 8080
const mostUneven = 10
const limitMs = 60_000

export async function measureShares(run: Run, options: SharesOptions): Promise<Findings> {
  const { variants: ids, rounds } = options
  const measured = new Map(kinds.map(kind => [kind, new Map(ids.map(id => [id, [] as Shares[]]))]))
  await inBuilt(
    { nodes: proxiesOf(ids).length + 1, families: ['IPv4'] },
    network => SharesBed.build(network, options),
    async built => {
      for (let round = 0; round < rounds; round++) {
        for (const kind of kinds) {
          for (const id of rotated(ids, round)) {
            const what = `${kind}, ${variant(id).name}, round ${round + 1}`
            measured
              .get(kind)!
              .get(id)!
              .push(await run.step(what, async () => (await built()).measure(kind, id)))
          }
        }
      }
    },
  )
  const { connections } = options
  return {
    tables: [
      report(`HTTP on ${connections} keep-alive connections`, measured.get('http')!, options),
      report('gRPC on one connection', measured.get('grpc')!, options),
    ],
    data: Object.fromEntries([...measured].map(([kind, its]) => [kind, Object.fromEntries(its)])),
  }
}

class SharesBed {
  readonly #bed: Bed
  readonly #options: SharesOptions
  readonly #grpc = execFileSync(fileURLToPath(new URL('../../tools/grpc', import.meta.url)), {
    encoding: 'utf8',
  }).trim()
  readonly #clients = new Map<string, Pod>()
  readonly #servers = new Map<Kind, readonly Pod[]>()
  /** By kind and variant. */
  readonly #addresses = new Map<string, string>()

  private constructor(bed: Bed, options: SharesOptions) {
    this.#bed = bed
    this.#options = options
  }

  static async build(network: Network, options: SharesOptions): Promise<SharesBed> {
    const { variants: ids } = options
    const bed = new SharesBed(await Bed.build(network, proxiesOf(ids)), options)
    for (const proxy of proxiesOf(ids)) bed.#clients.set(proxy, await bed.#bed.addClient({ proxy }))
    for (const kind of kinds) await bed.#add(kind)
    return bed
  }

  measure(kind: Kind, id: VariantId): Promise<Shares> {
    const client = this.#clients.get(variant(id).proxy)!
    const address = this.#addresses.get(`${kind} ${id}`)!
    return kind === 'http' ? this.#http(client, address) : this.#call(client, address)
  }

  async #http(client: Pod, address: string): Promise<Shares> {
    const { rate, seconds, connections } = this.#options
    const load = { url: `http://${address}/`, rate, seconds, connections }
    const { endpoints, failed } = await openLoad(this.#bed.network, client, load)
    return { byEndpoint: { ...this.#none('http'), ...endpoints }, failed }
  }

  async #call(client: Pod, address: string): Promise<Shares> {
    const { rate, seconds } = this.#options
    const flags = ['-count', `${rate * seconds}`, '-rate', `${rate}`, '-at-a-time', '20']
    const { stdout, stderr } = await runIn(client.netns, this.#grpc, ['unary', address, ...flags], {
      timeoutMs: 600_000,
    })
    if (stdout === '') throw new Error(`gRPC calls from ${client.name}: ${stderr}`)
    const { Shares: shares, Errors: errors } = JSON.parse(stdout) as Record<'Shares' | 'Errors', Record<string, number>>
    const failed = Object.values(errors).reduce((sum, count) => sum + count, 0)
    return { byEndpoint: { ...this.#none('grpc'), ...shares }, failed }
  }

  #none(kind: Kind): Record<string, number> {
    return Object.fromEntries(this.#servers.get(kind)!.map(({ name }) => [name, 0]))
  }

  async #add(kind: Kind): Promise<void> {
    const names = Array.from({ length: this.#options.endpoints }, (_, number) => `${kind}-${number}`)
    const pods = await this.#bed.addPods(this.#bed.network.nodes.at(-1)!.name, names)
    this.#servers.set(kind, pods)
    await Promise.all(
      pods.map(pod => (kind === 'http' ? startBenchServer(this.#bed.network, pod, {}) : this.#serve(pod))),
    )
    for (const id of this.#options.variants) {
      const one = variant(id)
      const client = this.#clients.get(one.proxy)!
      const endpoints = pods.map(({ ip }) => ({ ip, port }))
      const [address] = await this.#bed.addService(one, `${kind}-${slug(id)}`, endpoints, kind)
      this.#addresses.set(`${kind} ${id}`, address!)
      if (kind === 'http') await this.#bed.untilServed(one, client, address!)
      else
        await waitFor(
          `gRPC by ${one.name}`,
          limitMs,
          () => this.#isServed(client, address!, one.layer === 'envoy'),
          200,
        )
    }
  }

  async #serve(pod: Pod): Promise<void> {
    const args = ['serve', `0.0.0.0:${port}`, pod.name]
    const child = await this.#bed.network.processes.spawnIn(pod.netns, this.#grpc, args, { pipeStdout: true })
    await once(child.stdout!, 'data')
  }

  /** Two calls on one connection are answered, by Envoy where it is to. */
  async #isServed(client: Pod, address: string, byEnvoy: boolean): Promise<boolean> {
    const { stdout } = await runIn(client.netns, this.#grpc, ['unary', address, '-method', '/lab/Layer'])
    if (stdout === '') return false
    const { Shares: shares } = JSON.parse(stdout) as { readonly Shares: Readonly<Record<string, number>> }
    return Object.keys(shares).join() === (byEnvoy ? 'envoy' : 'kernel')
  }
}

function report(title: string, measured: ReadonlyMap<VariantId, readonly Shares[]>, options: SharesOptions): Table {
  const { endpoints, rate, seconds, rounds } = options
  return {
    title: `${title}: requests of ${endpoints} endpoints`,
    header: ['', 'least', 'most', 'farthest from even', 'without any', 'failed', 'aim'],
    rows: [...measured].map(([id, its]) => {
      const rounds = its.map(({ byEndpoint }) => {
        const counts = Object.values(byEndpoint)
        const even = counts.reduce((sum, count) => sum + count, 0) / endpoints
        return counts.map(count => (count / even) * 100)
      })
      const parts = rounds.flat()
      const farthest = rounds.map(its => Math.max(...its.map(part => Math.abs(part - 100))))
      return [
        variant(id).name,
        `${figure(Math.min(...parts))} %`,
        `${figure(Math.max(...parts))} %`,
        `${spread(farthest)} %`,
        String(parts.filter(part => part === 0).length),
        String(its.reduce((sum, { failed }) => sum + failed, 0)),
        variant(id).layer === 'envoy' ? aim(`within ${mostUneven} %`, Math.max(...farthest) <= mostUneven) : '',
      ]
    }),
    notes: [
      `of the even share, over ${rounds} rounds of ${seconds} s at ${rate} requests/s, whose worst endpoint counts; 100 % is even`,
    ],
  }
}
