/**
 * A node's proxy among many Services: how long it takes to start, what it costs at rest and while others' endpoints change, how long
 * a new connection takes, and how soon a change is in effect while a hundred others a second are.
 *
 * The proxies are on nodes of their own, and one after the other, since there is one machine.
 */

import { startLoad } from '../../../src/lab/clients.ts'
import type { Network, Pod } from '../../../src/lab/network.ts'
import { pause } from '../../../src/lab/wait.ts'
import { Bed } from '../../lab/bed.ts'
import { cpuSince, readCpu } from '../../lab/cpu.ts'
import { Cluster, serviceObjects } from '../../lab/generate.ts'
import { inBuilt } from '../../lab/in-network.ts'
import { memoryOf } from '../../lab/node.ts'
import { type ConnectReport, connectLoad, startBenchServer } from '../../lab/programs.ts'
import { type ProxyKind, slug, type VariantId, variant } from '../../lab/variants.ts'
import type { Findings, Run } from '../../runner/experiment.ts'
import { churnRate, kinds, type Measured, type Served, type SizesOptions } from './data.ts'
import { reportSizes } from './report.ts'

const byProxy: Readonly<Record<ProxyKind, readonly VariantId[]>> = {
  nftables: ['nftables'],
  iptables: ['iptables'],
  lightpath: ['kernel', 'leastRequest'],
}

const port = 8080
const betweenChangesMs = 4000
const settleMs = 5000
const connectSeconds = 3

export async function measureSizes(run: Run, options: SizesOptions): Promise<Findings> {
  const measured = new Map<number, Map<ProxyKind, Measured>>()
  for (const services of options.services) {
    const its = new Map<ProxyKind, Measured>()
    measured.set(services, its)
    await inBuilt(
      { nodes: kinds.length + 1, families: ['IPv4'] },
      network => SizesBed.build(network, services, options),
      async built => {
        for (const kind of kinds) {
          if (kind === 'iptables' && services > options.mostForIptables) continue
          const what = `${services} Services, ${kind}`
          its.set(kind, await run.step(what, async () => (await built()).measure(kind)))
        }
      },
    )
  }
  return reportSizes(measured, options)
}

class SizesBed {
  readonly #bed: Bed
  readonly #cluster: Cluster
  readonly #options: SizesOptions
  readonly #pods: readonly Pod[]

  private constructor(bed: Bed, cluster: Cluster, options: SizesOptions, pods: readonly Pod[]) {
    this.#bed = bed
    this.#cluster = cluster
    this.#options = options
    this.#pods = pods
  }

  static async build(network: Network, services: number, options: SizesOptions): Promise<SizesBed> {
    const bed = await Bed.build(network, [])
    const cluster = new Cluster({ services, endpoints: options.endpoints })
    await bed.plane.load(cluster, [])
    const names = Array.from({ length: options.changes + 1 }, (_, number) => `server-${number}`)
    const pods = await bed.addPods(network.nodes.at(-1)!.name, names)
    await Promise.all(pods.map(pod => startBenchServer(network, pod, {})))
    return new SizesBed(bed, cluster, options, pods)
  }

  async measure(kind: ProxyKind): Promise<Measured> {
    const addresses = new Map<VariantId, string>()
    for (const id of byProxy[kind]) {
      const [address] = await this.#bed.addService(variant(id), slug(id), [{ ip: this.#pods[0]!.ip, port }])
      addresses.set(id, address!)
    }
    const began = performance.now()
    const { processes } = await this.#bed.startProxy(kind, this.#bed.network.nodes[kinds.indexOf(kind)]!)
    const client = await this.#bed.addClient({ proxy: kind })
    const [first] = byProxy[kind]
    await this.#bed.untilServed(variant(first!), client, addresses.get(first!)!)
    const started = (performance.now() - began) / 1000
    for (const id of byProxy[kind]) await this.#bed.untilServed(variant(id), client, addresses.get(id)!)
    await pause(settleMs)

    const groups = Object.fromEntries(Object.entries(processes).map(([name, { pid }]) => [name, [pid]]))
    const rest = await this.#watch(groups)
    const connects = new Map<VariantId, ConnectReport>()
    for (const id of byProxy[kind]) {
      const load = { addresses: [addresses.get(id)!], seconds: connectSeconds }
      connects.set(id, await connectLoad(this.#bed.network, client, load))
    }
    const churn = this.#startChurn()
    try {
      const busy = await this.#watch(groups)
      const variants: Partial<Record<VariantId, Served>> = {}
      for (const id of byProxy[kind]) {
        const times = await this.#propagation(id, client, addresses.get(id)!)
        variants[id] = { connect: connects.get(id)!, ...times }
      }
      const costs = Object.entries(processes).map(([name, { pid }]) => {
        return [name, { memory: memoryOf({ pid: pid! }).rss, rest: rest[name]!, churn: busy[name]! }] as const
      })
      return { started, processes: Object.fromEntries(costs), variants }
    } finally {
      await churn.stop()
      await this.#bed.stopProxy(kind)
    }
  }

  /** Thousandths of a core by process. */
  async #watch(
    groups: Readonly<Record<string, readonly (number | undefined)[]>>,
  ): Promise<Readonly<Record<string, number>>> {
    const before = readCpu(groups)
    await pause(this.#options.watch * 1000)
    const seconds = Object.entries(cpuSince(groups, before))
    return Object.fromEntries(seconds.map(([name, value]) => [name, (value / this.#options.watch) * 1000]))
  }

  /** Replaces endpoints of other Services, so many a second. */
  #startChurn(): { stop(): Promise<void> } {
    let ended = false
    const began = performance.now()
    const going = (async () => {
      for (let change = 0; !ended; change++) {
        await pause(Math.max(0, began + (change * 1000) / churnRate - performance.now()))
        const number = (change * 7919) % this.#cluster.size.services
        this.#cluster.change(number, 'replace')
        await this.#bed.plane.replace(this.#cluster.slice(number))
      }
    })()
    // Whoever stops it hears of a failure.
    going.catch(() => undefined)
    return {
      async stop() {
        ended = true
        await going
      },
    }
  }

  /** The Service gets another endpoint, again and again, while new connections come to it. */
  async #propagation(id: VariantId, client: Pod, address: string): Promise<Pick<Served, 'first' | 'last'>> {
    const url = `http://${address}/`
    const load = await startLoad(this.#bed.network, client, {
      url,
      connections: 20,
      rate: 300,
      fresh: true,
      timeoutMs: 2000,
    })
    const told: number[] = []
    await pause(1000)
    for (const pod of this.#pods.slice(1)) {
      const [, , slice] = serviceObjects(slug(id), 'http', '', [{ ip: pod.ip, port }])
      told.push(await this.#bed.plane.replace(slice!))
      await pause(betweenChangesMs)
    }
    const { endpoints } = await load.stop()
    const seen = (index: number) => endpoints[this.#pods[index]!.name]
    // What never came is later than the next change.
    const first = told.map((at, index) => (seen(index + 1)?.first ?? at + betweenChangesMs) - at)
    const last = told.map((at, index) => Math.max(0, (seen(index)?.last ?? at) - at))
    return { first, last }
  }
}
