/** Servers on nodes of their own, a Service of them for each case and variant, and a client on each node that has a proxy. */

import { setTimeout as sleep } from 'node:timers/promises'
import type { Network, Pod } from '../../../src/lab/network.ts'
import { Bed } from '../../lab/bed.ts'
import { nearZone } from '../../lab/control-plane.ts'
import { serviceObjects } from '../../lab/generate.ts'
import { cpuTime } from '../../lab/node.ts'
import { fortio, openLoad, startBenchServer } from '../../lab/programs.ts'
import { slug, type VariantId, variant } from '../../lab/variants.ts'
import { proxiesOf } from '../graph/bed.ts'
import type { Case, ServicesOptions } from './case.ts'
import type { Sample } from './tables.ts'

const port = 8080
/** A part of the load that follows, a second at most. */
const warmUp = 0.1
/** A node has a /24 of addresses. */
const podsPerNode = 200
const changeMs = 500
/** Programs that take what they get of the cores. */
const greedyPrograms = 4

interface Target {
  readonly service: string
  readonly address: string
  readonly endpoints: readonly { readonly ip: string; readonly port: number; readonly zone: string }[]
}

export function nodesFor(cases: ServicesOptions['cases']): number {
  const all = Object.values(cases)
  const servers = all.flatMap(({ endpoints }) => endpoints).reduce((sum, { count }) => sum + count, 0)
  return proxiesOf(variantsOf(cases)).length + Math.ceil(servers / podsPerNode)
}

function variantsOf(cases: ServicesOptions['cases']): readonly VariantId[] {
  return [...new Set(Object.values(cases).flatMap(({ variants }) => variants))]
}

export class ServicesBed {
  readonly #bed: Bed
  readonly #cases: ServicesOptions['cases']
  /** The first node that has servers. */
  readonly #firstNode: number
  #pods = 0
  readonly #clients = new Map<string, Pod>()
  /** By case and variant. */
  readonly #targets = new Map<string, Target>()

  private constructor(bed: Bed, cases: ServicesOptions['cases'], firstNode: number) {
    this.#bed = bed
    this.#cases = cases
    this.#firstNode = firstNode
  }

  static async build(network: Network, cases: ServicesOptions['cases']): Promise<ServicesBed> {
    const proxies = proxiesOf(variantsOf(cases))
    const bed = new ServicesBed(await Bed.build(network, proxies), cases, proxies.length)
    for (const proxy of proxies) bed.#clients.set(proxy, await bed.#bed.addClient({ proxy }))
    for (const [index, [name, one]] of Object.entries(cases).entries()) await bed.#addCase(name, index, one)
    return bed
  }

  /** Requests a second that the base answers at most. */
  async saturation(name: string, seconds: number): Promise<number> {
    const { base, connections } = this.#cases[name]!
    const load = { url: this.#url(name, base), rate: 0, connections, seconds }
    return (await fortio(this.#bed.network, this.#client(base), load)).reached
  }

  async load(name: string, id: VariantId, rate: number, seconds: number): Promise<Sample> {
    const { connections, circumstance } = this.#cases[name]!
    const load = (seconds: number) =>
      openLoad(this.#bed.network, this.#client(id), { url: this.#url(name, id), rate, connections, seconds })
    if (circumstance === 'start') await this.#startEnvoyAnew(name, id)
    else await load(Math.min(1, seconds * warmUp))
    const disturb = { start: this.#nothing, changes: this.#change, 'busy machine': this.#beBusy }
    const ended = new AbortController()
    const disturbing = circumstance && disturb[circumstance].call(this, name, id, ended.signal)
    // A failure is heard of at the end.
    disturbing?.catch(() => undefined)
    try {
      const before = this.#envoyCpu(id)
      const report = await load(seconds)
      const after = this.#envoyCpu(id)
      const known = before !== undefined && after !== undefined
      return { ...report, rate, cpu: known ? (after - before) / 1000 / report.requests : undefined }
    } finally {
      ended.abort()
      await disturbing
    }
  }

  #client(id: VariantId): Pod {
    return this.#clients.get(variant(id).proxy)!
  }

  #url(name: string, id: VariantId): string {
    return `http://${this.#targets.get(`${name} ${id}`)!.address}/`
  }

  /** Nanoseconds until now. */
  #envoyCpu(id: VariantId): number | undefined {
    const pid = this.#bed.proxied(variant(id)).processes.envoy?.pid
    return pid === undefined ? undefined : cpuTime({ pid })
  }

  async #startEnvoyAnew(name: string, id: VariantId): Promise<void> {
    const { envoy } = this.#bed.proxied(variant(id)).processes
    await envoy?.down()
    await envoy?.up()
    await this.#bed.untilServed(variant(id), this.#client(id), this.#targets.get(`${name} ${id}`)!.address)
  }

  async #nothing(): Promise<void> {}

  /** Each endpoint in turn is not there for a while. */
  async #change(name: string, id: VariantId, ended: AbortSignal): Promise<void> {
    const { service, endpoints } = this.#targets.get(`${name} ${id}`)!
    const set = (some: Target['endpoints']) =>
      this.#bed.plane.replace(serviceObjects(service, 'http', '', some).at(-1)!)
    for (let turn = 0; !ended.aborted; turn++) {
      await set(endpoints.filter((_, index) => index !== turn % endpoints.length))
      await sleep(changeMs, undefined, { signal: ended }).catch(() => {})
    }
    await set(endpoints)
  }

  async #beBusy(_name: string, id: VariantId, ended: AbortSignal): Promise<void> {
    const { network } = this.#bed
    const { netns } = this.#bed.proxied(variant(id)).node
    const programs = await Promise.all(
      Array.from({ length: greedyPrograms }, () =>
        network.processes.spawnIn(netns, 'sh', ['-c', 'while :; do :; done']),
      ),
    )
    await new Promise<void>(resolve => (ended.aborted ? resolve() : ended.addEventListener('abort', () => resolve())))
    await Promise.all(programs.map(program => program.stop()))
  }

  async #addCase(name: string, index: number, { endpoints, variants: ids }: Case): Promise<void> {
    const servers = endpoints.flatMap(({ count, ...one }) => Array.from({ length: count }, () => one))
    const names = servers.map((_, number) => `server-${index}-${number}`)
    const pods: Pod[] = []
    // Pods of one case and the next fill a node after the other.
    for (let next = 0; next < names.length; ) {
      const count = Math.min(names.length - next, podsPerNode - (this.#pods % podsPerNode))
      const node = this.#bed.network.nodes[this.#firstNode + Math.floor(this.#pods / podsPerNode)]!
      pods.push(...(await this.#bed.addPods(node.name, names.slice(next, next + count))))
      this.#pods += count
      next += count
    }
    await Promise.all(
      pods.map((pod, number) => {
        const { isElsewhere: _, ...flags } = servers[number]!
        return startBenchServer(this.#bed.network, pod, flags)
      }),
    )
    const addresses = pods.map(({ ip }, number) => {
      return { ip, port, zone: servers[number]!.isElsewhere ? 'elsewhere' : nearZone }
    })
    for (const id of ids) {
      const service = `case-${index}-${slug(id)}`
      const [address] = await this.#bed.addService(variant(id), service, addresses)
      await this.#bed.untilServed(variant(id), this.#client(id), address!)
      this.#targets.set(`${name} ${id}`, { service, address: address!, endpoints: addresses })
    }
  }
}
