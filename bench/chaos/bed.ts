/**
 * Ten endpoints on two nodes without a proxy, a Service of them for each variant, and steady load. Nothing here does what a kubelet
 * and controllers do: faults take an endpoint out of its slice when those would.
 */

import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { adminSocket } from '../../src/envoy/program/sockets.ts'
import { curl } from '../../src/lab/clients.ts'
import { canFakeClock, FakeClock } from '../../src/lab/faults/clock.ts'
import { Container } from '../../src/lab/faults/container.ts'
import type { LabNode, Network, Pod } from '../../src/lab/network.ts'
import { type Child, runIn } from '../../src/lab/processes.ts'
import { pause } from '../../src/lab/wait.ts'
import { type Around, Bed, type ProxiedNode } from '../lab/bed.ts'
import { serviceObjects } from '../lab/generate.ts'
import { envoySocketsOf, runInOrThrow } from '../lab/node.ts'
import { type OpenReport, startBenchServer, startOpenLoad } from '../lab/programs.ts'
import { slug, type VariantId, variant } from '../lab/variants.ts'

const drainProgram = fileURLToPath(new URL('../../images/envoy-drain', import.meta.url))
const port = 8080
const endpoints = 10
export const load = { rate: 500, connections: 20 } as const

/** A pod that may be an endpoint. */
export interface Endpoint {
  readonly pod: Pod
  /** Undefined while nothing runs in it. */
  server: Child | undefined
}

export class ChaosBed {
  readonly bed: Bed
  /** Of the agent, which is all that can have one. */
  readonly clock: FakeClock
  readonly #containers: Containers
  readonly #ids: readonly VariantId[]
  readonly #clients = new Map<VariantId, { readonly pod: Pod; readonly address: string }>()
  readonly #nodes: readonly LabNode[]
  #endpoints: readonly Endpoint[]
  /** As many, without servers: for updates. */
  #spare: readonly Endpoint[]

  private constructor(bed: Bed, contained: Contained, ids: readonly VariantId[], pods: readonly Pod[]) {
    this.bed = bed
    this.clock = contained.clock
    this.#containers = contained.containers
    this.#ids = ids
    this.#nodes = bed.network.nodes.slice(-2)
    const all = pods.map(pod => ({ pod, server: undefined }))
    this.#endpoints = all.slice(0, endpoints)
    this.#spare = all.slice(endpoints)
  }

  /** @param network with a node for each variant's proxy, and two more */
  static async build(network: Network, ids: readonly VariantId[]): Promise<ChaosBed> {
    const proxies = ids.map(id => variant(id).proxy)
    const contained = contain(network)
    const bed = await Bed.build(network, proxies, contained.around)
    const [first, second] = network.nodes.slice(-2) as [LabNode, LabNode]
    const names = (from: number, count: number) => Array.from({ length: count }, (_, index) => `server-${from + index}`)
    // One of ten is on a node of its own, and may go with it.
    const pods = [
      ...(await bed.addPods(second.name, names(0, 1))),
      ...(await bed.addPods(first.name, names(1, 2 * endpoints - 1))),
    ]
    const chaos = new ChaosBed(bed, contained, ids, pods)
    await Promise.all(chaos.#endpoints.map(endpoint => chaos.start(endpoint)))
    for (const id of ids) {
      const addresses = chaos.#endpoints.map(({ pod }) => ({ ip: pod.ip, port }))
      const [address] = await bed.addService(variant(id), slug(id), addresses)
      chaos.#clients.set(id, { pod: await bed.addClient(variant(id)), address: address! })
    }
    for (const id of ids) await chaos.untilServed(id)
    return chaos
  }

  proxied(id: VariantId): ProxiedNode {
    return this.bed.proxied(variant(id))
  }

  /** The endpoint that faults happen to. */
  get victim(): Endpoint {
    return this.#endpoints[0]!
  }

  get endpoints(): readonly Endpoint[] {
    return this.#endpoints
  }

  /** What a process of the variant's node runs in. */
  container(id: VariantId, name: string): Container {
    return this.#containers.get(`${this.proxied(id).node.name}-${name}`)!
  }

  /** All log on a disk that takes nothing more, or something again. */
  fillDisks(id: VariantId, isFull: boolean): void {
    for (const [name, { pid }] of Object.entries(this.proxied(id).processes)) {
      const container = this.container(id, name)
      if (pid !== undefined) isFull ? container.fillDisk(pid) : container.freeDisk(pid)
    }
  }

  /** One endpoint leaves and comes again. */
  async change(): Promise<void> {
    await this.publish(this.#endpoints.slice(1))
    await pause(1000)
    await this.publish(this.#endpoints)
  }

  /** The node that the victim has for itself. */
  get victimNode(): LabNode {
    return this.#nodes[1]!
  }

  async start(endpoint: Endpoint): Promise<void> {
    endpoint.server ??= await startBenchServer(this.bed.network, endpoint.pod, { delay: '1ms' })
  }

  /** Has an endpoint's server answer so, or after so long; without both as usual. */
  async setFault({ pod }: Endpoint, fault: { readonly status?: number; readonly delay?: string } = {}): Promise<void> {
    const query = new URLSearchParams(Object.entries(fault).map(([key, value]) => [key, String(value)]))
    await curl(pod, ['-X', 'POST', `http://127.0.0.1:${port}/fault?${query}`])
  }

  /** The Services have these endpoints from now on. */
  async publish(ready: readonly Endpoint[], terminating: readonly Endpoint[] = []): Promise<void> {
    const addresses = [
      ...ready.map(({ pod }) => ({ ip: pod.ip, port })),
      ...terminating.map(({ pod }) => ({ ip: pod.ip, port, terminating: true })),
    ]
    for (const id of this.#ids) {
      const [, , slice] = serviceObjects(slug(id), 'http', '', addresses)
      await this.bed.plane.replace(slice!)
    }
  }

  /** Replaces every endpoint by another one, one after the other, as a Deployment does: SIGTERM comes with the change of the slice. */
  async rollingUpdate(pauseMs: number): Promise<void> {
    const [old, next] = [[...this.#endpoints], this.#spare]
    const ready = [...old]
    for (const [index, replaced] of old.entries()) {
      await this.start(next[index]!)
      ready[index] = next[index]!
      await this.publish(ready, [replaced])
      replaced.server?.kill('SIGTERM')
      await pause(pauseMs)
      await this.publish(ready)
      await replaced.server?.stop()
      replaced.server = undefined
    }
    this.#endpoints = next
    this.#spare = old
  }

  /** Packets to and from a namespace go nowhere, or again where they should. */
  async drop({ netns }: Pick<Pod, 'netns'>, isDropped: boolean): Promise<void> {
    const chains = ['input', 'output', 'forward'].map(hook => `${chain(hook)}policy drop\n}`)
    await this.#chaosTable(netns, isDropped ? chains : undefined)
  }

  /** One packet of a hundred is lost, whether the node forwards it or its Envoy receives or sends it. */
  async lose({ netns }: LabNode, isLost: boolean): Promise<void> {
    const chains = ['prerouting', 'output'].map(hook => `${chain(hook)}numgen random mod 100 0 drop\n}`)
    await this.#chaosTable(netns, isLost ? chains : undefined)
  }

  async #chaosTable(netns: string, chains: readonly string[] | undefined): Promise<void> {
    const rules = chains ? `table inet chaos {\n${chains.join('\n')}\n}\n` : 'delete table inet chaos\n'
    await runInOrThrow(netns, 'nft', ['-f', '-'], rules)
  }

  /** As the kubelet does before it ends the proxy's pod, for as long as that may take. */
  async drainEnvoy(id: VariantId): Promise<void> {
    const directory = envoySocketsOf(this.bed.network, this.proxied(id).node)
    await this.on(id, 'timeout', '12', drainProgram, adminSocket({ directory }, 1).path)
  }

  /** Runs a command on the variant's node, whatever comes of it. */
  async on(id: VariantId, command: string, ...args: readonly string[]): Promise<string> {
    return (await runIn(this.proxied(id).node.netns, command, args)).stdout
  }

  async load(id: VariantId, seconds: number): Promise<{ readonly report: Promise<OpenReport> }> {
    const { pod, address } = this.#clients.get(id)!
    return startOpenLoad(this.bed.network, pod, { url: `http://${address}/`, seconds, timeout: '5s', ...load })
  }

  async untilServed(id: VariantId): Promise<void> {
    const { pod, address } = this.#clients.get(id)!
    await this.bed.untilServed(variant(id), pod, address)
  }
}

type Containers = ReadonlyMap<string, Container>

interface Contained {
  readonly clock: FakeClock
  /** By node and process. */
  readonly containers: Containers
  readonly around: Around
}

function contain(network: Network): Contained {
  const clock = new FakeClock(join(network.directory, 'clock'))
  const containers = new Map<string, Container>()
  const clockOf = (name: string) => (name === 'agent' && canFakeClock ? ['env', ...assignments(clock.env)] : [])
  const around: Around = (words, node, name) => {
    const container = new Container(network, `${node.name}-${name}`)
    containers.set(`${node.name}-${name}`, container)
    return container.around([...clockOf(name), ...words])
  }
  return { clock, containers, around }
}

function assignments(env: Readonly<Record<string, string>>): readonly string[] {
  return Object.entries(env).map(([name, value]) => `${name}=${value}`)
}

/** Before everything else that sees a packet. */
function chain(hook: string): string {
  return `chain ${hook} {\ntype filter hook ${hook} priority -400\n`
}
