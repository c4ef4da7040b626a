/**
 * Four nodes with Lightpath by two control planes, and one with kube-proxy, all by one real API server:
 *
 *     fabric: etcd, kube-apiserver   node1: kube-proxy   node2 to node5: agent and Envoy   node6, node7: a control plane each
 *
 * The last one of the four is the one that dies. What kubelets and controllers would do here nobody does.
 */

import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { LabNode, Network, Pod } from '../../../src/lab/network.ts'
import type { Child } from '../../../src/lab/processes.ts'
import { waitFor } from '../../../src/lab/wait.ts'
import { type Around, Bed } from '../../lab/bed.ts'
import { serviceObjects } from '../../lab/generate.ts'
import { JsonLog, type LogLine, runInOrThrow } from '../../lab/node.ts'
import { startBenchServer } from '../../lab/programs.ts'
import { type VariantId, variant } from '../../lab/variants.ts'
import { startReplica } from '../controlplane/replica.ts'
import { createAccount, requestToken } from '../controlplane/tokens.ts'

export const labNetwork = { nodes: 7, families: ['IPv4'] } as const
const port = 8080
const limitMs = 120_000

/** A pod that may be an endpoint. */
export interface Endpoint {
  readonly pod: Pod
  readonly server: Child
}

/** What clients call, and from where. */
export interface Frontend {
  readonly client: Pod
  readonly address: string
}

export class FailureLab {
  readonly bed: Bed
  /** Those with Lightpath. */
  readonly nodes: readonly LabNode[]
  readonly #logs: readonly JsonLog[]
  readonly #services = new Map<string, string>()
  #pods = 0

  private constructor(bed: Bed, nodes: readonly LabNode[], logs: readonly JsonLog[]) {
    this.bed = bed
    this.nodes = nodes
    this.#logs = logs
  }

  static async build(network: Network): Promise<FailureLab> {
    const [nodes, homes] = [network.nodes.slice(1, 5), network.nodes.slice(5)]
    const flags = new Map<string, readonly string[]>()
    const around: Around = (words, { name }, process) => [...words, ...(process === 'agent' ? flags.get(name)! : [])]
    const bed = await Bed.build(network, ['nftables'], around)
    await createAccount(bed.plane)
    const replicas = await Promise.all(homes.map(home => startReplica(network, home, bed.plane.kubeconfig)))
    const authority = join(network.directory, 'authority.crt')
    writeFileSync(authority, replicas.map(one => readFileSync(one.authority, 'utf8')).join(''))
    // The last one that is started is where the bed has its clients.
    for (const { name } of nodes.toReversed()) {
      const token = join(network.directory, `${name}-token`)
      writeFileSync(token, await requestToken(bed.plane, name))
      flags.set(name, [
        ...['--control-planes', replicas.map(({ address }) => address).join()],
        ...['--control-plane-authority', authority, '--control-plane-token', token, '--max-excluded', '50'],
      ])
      await bed.startProxy('lightpath', network.nodes.find(node => node.name === name)!)
    }
    const logs = homes.map(home => {
      const directory = join(network.directory, `${home.name}-controlplane`)
      return new JsonLog(join(directory, readdirSync(directory).find(file => file.endsWith('.log'))!))
    })
    return new FailureLab(bed, nodes, logs)
  }

  get dead(): LabNode {
    return this.nodes.at(-1)!
  }

  /** So many endpoints on each node. */
  async addEndpoints(perNode: number): Promise<readonly Endpoint[]> {
    const all: Endpoint[] = []
    for (const node of this.nodes) for (let i = 0; i < perNode; i++) all.push(await this.addEndpoint(node))
    return all
  }

  async addEndpoint({ name }: LabNode): Promise<Endpoint> {
    const [pod] = await this.bed.addPods(name, [`server-${++this.#pods}`])
    return { pod: pod!, server: await startBenchServer(this.bed.network, pod!, { delay: '1ms' }) }
  }

  /** With its Pod. */
  async removeEndpoint({ pod: { name } }: Endpoint): Promise<void> {
    await this.bed.plane.ask('DELETE', `/api/v1/namespaces/bench/pods/${name}?gracePeriodSeconds=0`)
    await this.bed.network.removePod(name)
  }

  /** A Service for clients behind this variant's proxy, once they are answered. */
  async addService(id: VariantId, name: string, endpoints: readonly Endpoint[]): Promise<Frontend> {
    const portName = variant(id).layer === 'envoy' ? 'http' : 'raw'
    const [address] = await this.bed.addService(variant(id), name, addressesOf(endpoints), portName)
    this.#services.set(name, portName)
    await this.publish(name, endpoints)
    const node = this.bed.proxied(variant(id)).node.name
    const client = await this.bed.network.addPod(node, `client-${name}`)
    await this.bed.untilServed(variant(id), client, address!)
    return { client, address: address! }
  }

  /** The Service has these endpoints from now on. */
  async publish(name: string, ready: readonly Endpoint[], terminating: readonly Endpoint[] = []): Promise<void> {
    const addresses = [
      ...addressesOf(ready),
      ...addressesOf(terminating).map(address => ({ ...address, terminating: true })),
    ]
    const [, , slice] = serviceObjects(name, this.#services.get(name)!, '', addresses)
    await this.bed.plane.replace(slice!)
  }

  /** All packets to and from the dead node are lost, or none. */
  async drop(isDropped: boolean): Promise<void> {
    const chains = ['input', 'output', 'forward'].map(hook => `${chain(hook)} policy drop; }`)
    await this.#lossTable(this.dead, isDropped ? chains : undefined)
  }

  /** So many packets of a hundred are lost between any two nodes, in either direction. */
  async lose(percent: number): Promise<void> {
    const rule = `oifname "eth0" numgen random mod 100 < ${percent} drop;`
    const lossy = `chain postrouting { type filter hook postrouting priority 400; ${rule} }`
    for (const node of this.bed.network.nodes) await this.#lossTable(node, percent > 0 ? [lossy] : undefined)
  }

  /** What the control planes have excluded since the last call, each for itself. */
  exclusions(): readonly LogLine[] {
    return this.#logs.flatMap(log => log.take().filter(({ msg }) => /^(endpoint|node) excluded$/.test(msg)))
  }

  /** Resolves when no agent leaves anything out. */
  async untilNothingExcluded(): Promise<void> {
    for (const { netns } of this.nodes) {
      await waitFor('no exclusion', limitMs, async () => {
        const page = await runInOrThrow(netns, 'curl', ['-sS', '--max-time', '5', 'http://127.0.0.1:9000/metrics'])
        return [...page.matchAll(/^lightpath_excluded\{.*\} (\d+)$/gm)].every(([, count]) => count === '0')
      })
    }
  }

  async #lossTable({ netns }: LabNode, chains: readonly string[] | undefined): Promise<void> {
    const rules = chains ? `table inet chaos {\n${chains.join('\n')}\n}\n` : 'delete table inet chaos\n'
    await runInOrThrow(netns, 'nft', ['-f', '-'], rules)
  }
}

function addressesOf(endpoints: readonly Endpoint[]) {
  return endpoints.map(({ pod }) => ({ ip: pod.ip, port, nodeName: pod.node }))
}

/** Before everything else that sees a packet. */
function chain(hook: string): string {
  return `chain ${hook} { type filter hook ${hook} priority -400;`
}
