/** Requests to Services of different endpoints, by open-loop load: every variant beside the others, in turns. */

import type { Network, Pod } from '../../src/lab/network.ts'
import { Bed } from '../lab/bed.ts'
import { inBuilt } from '../lab/in-network.ts'
import { type OpenReport, openLoad, startBenchServer } from '../lab/programs.ts'
import { rotated, slug, type VariantId, variant } from '../lab/variants.ts'
import type { Chart } from '../runner/chart.ts'
import type { Findings, Run, Table } from '../runner/experiment.ts'
import { aim, median, spread } from '../runner/statistics.ts'
import { proxiesOf } from './graph/bed.ts'

/** Servers, each so often as it says. Durations as Go writes them: 5ms. */
export interface Endpoints {
  readonly count: number
  /** Before each answer. */
  readonly delay?: string
  /** Requests at a time; the others wait. */
  readonly workers?: number
  /** Stands still so long, so often. */
  readonly stall?: string
  readonly every?: string
}

export interface ServicesOptions {
  /** By a name for people, the endpoints of a Service. */
  readonly cases: Readonly<Record<string, readonly Endpoints[]>>
  readonly variants: readonly VariantId[]
  readonly rate: number
  readonly connections: number
  readonly rounds: number
  /** Of one load. */
  readonly seconds: number
  /** What the others are compared with, round by round. Default kube-proxy (nftables). */
  readonly base?: VariantId
  readonly aims?: {
    readonly of: VariantId
    /** By case. */
    readonly cases: Readonly<Record<string, Aim>>
  }
}

/** The most that a figure is to be, as a part of the base's. */
interface Aim {
  readonly figure: 'mean' | 'p99' | 'p99.9'
  readonly most: number
}

/** By case and variant, a report of each round. */
type Reports = ReadonlyMap<string, ReadonlyMap<VariantId, readonly OpenReport[]>>

const port = 8080
const warmUpSeconds = 1

export async function measureServices(run: Run, options: ServicesOptions): Promise<Findings> {
  const { cases, variants: ids, rate, connections, rounds, seconds } = options
  const names = Object.keys(cases)
  const reports = new Map(names.map(name => [name, new Map(ids.map(id => [id, [] as OpenReport[]]))]))
  await inBuilt(
    { nodes: proxiesOf(ids).length + serverNodes(cases), families: ['IPv4'] },
    network => ServicesBed.build(network, options),
    async built => {
      for (let round = 0; round < rounds; round++) {
        for (const name of names) {
          for (const id of rotated(ids, round)) {
            const report = await run.step(`${name}, ${variant(id).name}, round ${round + 1}`, async () => {
              const bed = await built()
              const load = { rate, connections }
              await bed.load(name, id, { ...load, seconds: warmUpSeconds })
              return bed.load(name, id, { ...load, seconds })
            })
            reports.get(name)!.get(id)!.push(report)
          }
        }
      }
    },
  )
  return {
    tables: names.map(name => latencies(name, reports.get(name)!, options)),
    charts: names.map(name => distributions(name, reports.get(name)!)),
    data: dataOf(reports),
  }
}

type Load = Pick<ServicesOptions, 'rate' | 'connections' | 'seconds'>

/** A node has a /24 of addresses. */
const podsPerNode = 200

function serverNodes(cases: ServicesOptions['cases']): number {
  const pods = Object.values(cases).flat()
  return Math.ceil(pods.reduce((sum, { count }) => sum + count, 0) / podsPerNode)
}

/** Servers on nodes of their own, and a client on each node that has a proxy. */
class ServicesBed {
  readonly #bed: Bed
  /** The first node that has servers. */
  readonly #firstNode: number
  #pods = 0
  readonly #clients = new Map<string, Pod>()
  /** By case and variant. */
  readonly #urls = new Map<string, string>()

  private constructor(bed: Bed, firstNode: number) {
    this.#bed = bed
    this.#firstNode = firstNode
  }

  static async build(network: Network, { cases, variants: ids }: ServicesOptions): Promise<ServicesBed> {
    const bed = new ServicesBed(await Bed.build(network, proxiesOf(ids)), proxiesOf(ids).length)
    for (const proxy of proxiesOf(ids)) bed.#clients.set(proxy, await bed.#bed.addClient({ proxy }))
    for (const [index, [name, endpoints]] of Object.entries(cases).entries())
      await bed.#addCase(name, index, endpoints, ids)
    return bed
  }

  load(name: string, id: VariantId, load: Load): Promise<OpenReport> {
    const client = this.#clients.get(variant(id).proxy)!
    return openLoad(this.#bed.network, client, { url: this.#urls.get(`${name} ${id}`)!, ...load })
  }

  async #addCase(
    name: string,
    index: number,
    endpoints: readonly Endpoints[],
    ids: readonly VariantId[],
  ): Promise<void> {
    const flags = endpoints.flatMap(({ count, ...flags }) => Array.from({ length: count }, () => flags))
    const names = flags.map((_, number) => `server-${index}-${number}`)
    const pods: Pod[] = []
    // Pods of one case and the next fill a node after the other.
    for (let next = 0; next < names.length; ) {
      const count = Math.min(names.length - next, podsPerNode - (this.#pods % podsPerNode))
      const node = this.#bed.network.nodes[this.#firstNode + Math.floor(this.#pods / podsPerNode)]!
      pods.push(...(await this.#bed.addPods(node.name, names.slice(next, next + count))))
      this.#pods += count
      next += count
    }
    await Promise.all(pods.map((pod, number) => startBenchServer(this.#bed.network, pod, flags[number]!)))
    for (const id of ids) {
      const addresses = pods.map(({ ip }) => ({ ip, port }))
      const [address] = await this.#bed.addService(variant(id), `case-${index}-${slug(id)}`, addresses)
      await this.#bed.untilServed(variant(id), this.#clients.get(variant(id).proxy)!, address!)
      this.#urls.set(`${name} ${id}`, `http://${address}/`)
    }
  }
}

function latencies(
  name: string,
  reports: ReadonlyMap<VariantId, readonly OpenReport[]>,
  { rate, connections, rounds, seconds, base = 'nftables', aims }: ServicesOptions,
): Table {
  const aimed = aims?.cases[name]
  const of = aimed?.figure ?? 'p99'
  const figureOf = ({ mean, percentiles }: OpenReport) => (of === 'mean' ? mean : percentiles[of]!)
  const ratiosOf = (its: readonly OpenReport[]) =>
    its.map((report, round) => figureOf(report) / figureOf(reports.get(base)![round]!))
  return {
    title: name,
    header: [
      'ms',
      'mean',
      'p50',
      'p90',
      'p99',
      'p99.9',
      `${of}, part of: ${variant(base).name}`,
      'failed',
      aimed ? 'aim' : '',
    ],
    rows: [...reports].map(([id, its]) => {
      const ratios = ratiosOf(its)
      return [
        variant(id).name,
        spread(its.map(({ mean }) => mean)),
        ...['p50', 'p90', 'p99', 'p99.9'].map(of => spread(its.map(({ percentiles }) => percentiles[of]!))),
        spread(ratios),
        String(its.reduce((sum, { failed }) => sum + failed, 0)),
        aimed && aims?.of === id ? aim(`≤ ${aimed.most}`, median(ratios) <= aimed.most) : '',
      ]
    }),
    notes: [
      `${rounds} rounds of ${seconds} s at ${rate} requests/s on ${connections} connections, the variants in turns`,
    ],
  }
}

function distributions(name: string, reports: ReadonlyMap<VariantId, readonly OpenReport[]>): Chart {
  const middle = (its: readonly OpenReport[]) => its.toSorted((a, b) => a.mean - b.mean)[Math.floor(its.length / 2)]!
  return {
    title: name,
    x: { title: 'ms', log: true },
    y: { title: 'per cent of requests' },
    lines: [...reports].map(([id, its]) => ({ name: variant(id).name, points: middle(its).curve })),
  }
}

/** Without the time series: there is nothing to see in them here. */
function dataOf(reports: Reports): object {
  const without = ({ series: _, ...rest }: OpenReport) => rest
  return Object.fromEntries(
    [...reports].map(([name, its]) => [name, Object.fromEntries([...its].map(([id, all]) => [id, all.map(without)]))]),
  )
}
