/** A service graph under load, on a bed of its own. */

import { curl } from '../../../src/lab/clients.ts'
import type { Network } from '../../../src/lab/network.ts'
import { deployGraph, type Entrance } from '../../graph/deploy.ts'
import { type Graph, readGraph } from '../../graph/graph.ts'
import { Bed } from '../../lab/bed.ts'
import { type CpuTimes, cpuSince, readCpu } from '../../lab/cpu.ts'
import { type FortioLoad, type FortioReport, fortio, type HttpLoad, openLoad } from '../../lab/programs.ts'
import { type ProxyKind, type VariantId, variant } from '../../lab/variants.ts'

export interface Sample {
  readonly report: FortioReport
  /** Seconds while it ran: servers, Envoy, the control programs, and all. */
  readonly cpu: CpuTimes
}

export type GraphLoad = Pick<FortioLoad, 'rate' | 'seconds' | 'uniform'>

export interface Posts {
  readonly sent: number
  readonly failed: number
  readonly seen: number
}

const connections = 20
const warmUpSeconds = 1

/** The graph on a bed of its own, for all variants. */
export class GraphBed {
  readonly bed: Bed
  readonly graph: Graph
  readonly #entrances: ReadonlyMap<VariantId, Entrance>

  private constructor(bed: Bed, graph: Graph, entrances: ReadonlyMap<VariantId, Entrance>) {
    this.bed = bed
    this.graph = graph
    this.#entrances = entrances
  }

  static async build(network: Network, name: string, scenario: string, ids: readonly VariantId[]): Promise<GraphBed> {
    const graph = readGraph(name)
    const bed = await Bed.build(network, proxiesOf(ids))
    return new GraphBed(bed, graph, await deployGraph(bed, graph, scenario, ids))
  }

  entrance(id: VariantId): Entrance {
    return this.#entrances.get(id)!
  }

  /** One load of one variant, after a second of the same that nobody counts. */
  async measure(id: VariantId, load: GraphLoad): Promise<Sample> {
    const { client, servers } = this.entrance(id)
    const whole = { ...this.#load(id), ...load, method: 'GET' }
    await fortio(this.bed.network, client, { ...whole, seconds: warmUpSeconds })
    const { envoy, agent, 'kube-proxy': kubeProxy } = this.bed.proxied(variant(id)).processes
    const groups = {
      servers: servers.map(({ pid }) => pid),
      envoy: [envoy?.pid],
      control: [agent?.pid, kubeProxy?.pid],
    }
    const before = readCpu(groups)
    const report = await fortio(this.bed.network, client, whole)
    return { report, cpu: cpuSince(groups, before) }
  }

  /** POSTs, and how many of them came to the service that clients call. */
  async measurePosts(id: VariantId, load: Pick<HttpLoad, 'rate' | 'seconds'>): Promise<Posts> {
    const before = await this.#postsSeen(id)
    const { requests, failed } = await openLoad(this.bed.network, this.entrance(id).client, {
      ...this.#load(id),
      ...load,
      method: 'POST',
    })
    return { sent: requests, failed, seen: (await this.#postsSeen(id)) - before }
  }

  #load(id: VariantId) {
    return { url: this.entrance(id).url, connections, size: this.graph.size, variant: id }
  }

  async #postsSeen(id: VariantId): Promise<number> {
    const { client, entrance } = this.entrance(id)
    const counters = entrance.map(async ({ ip }) =>
      JSON.parse((await curl(client, [`http://${ip}:8080/counters`])).stdout),
    )
    return (await Promise.all(counters)).reduce((sum, counter) => sum + (counter[`POST ${id}`] ?? 0), 0)
  }
}

/** The proxies that variants need, each once. */
export function proxiesOf(ids: readonly VariantId[]): readonly ProxyKind[] {
  return [...new Set(ids.map(id => variant(id).proxy))]
}
