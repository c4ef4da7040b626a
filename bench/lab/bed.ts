/**
 * Nodes with a proxy each, all by one real API server that is on none of them:
 *
 *     fabric: etcd, kube-apiserver     node1: kube-proxy, nftables     node2: kube-proxy, iptables     node3: Lightpath     …
 *
 * Variants run beside one another, each with Services of its own. What a proxy does not serve, nobody there calls.
 */

import { join } from 'node:path'
import { curl } from '../../src/lab/clients.ts'
import type { LabNode, Network, Pod } from '../../src/lab/network.ts'
import { Supervised } from '../../src/lab/supervisor.ts'
import { waitFor } from '../../src/lab/wait.ts'
import { ControlPlane } from './control-plane.ts'
import { serviceObjects } from './generate.ts'
import { type Address, agentCommand, envoyCommand } from './node.ts'
import type { ProxyKind, Variant } from './variants.ts'

/** Far beyond what anything takes, so that no run of hours ends by it. */
const limitMs = 300_000
/** Connections are spread over so many of Envoy's threads. */
const envoyWorkers = 2

/** Makes the command line of a node's process one that runs it in something; `name` is that of the process. */
export type Around = (words: readonly string[], node: LabNode, name: string) => readonly string[]

export interface ProxiedNode {
  readonly node: LabNode
  /** By name: kube-proxy, or agent and envoy. Each is started again when it dies, as a kubelet does. */
  readonly processes: Readonly<Record<string, Supervised>>
}

export class Bed {
  readonly network: Network
  readonly plane: ControlPlane
  readonly #proxies = new Map<ProxyKind, ProxiedNode>()
  readonly #around: Around
  #services = 0

  private constructor(network: Network, plane: ControlPlane, around: Around) {
    this.network = network
    this.plane = plane
    this.#around = around
  }

  /** @param network with a node for each of the proxies, in that order, and others without */
  static async build(network: Network, proxies: readonly ProxyKind[], around: Around = words => words): Promise<Bed> {
    const plane = await ControlPlane.start(network, { netns: network.fabric, address: '172.30.0.1' })
    const bed = new Bed(network, plane, around)
    await Promise.all(proxies.map((proxy, index) => bed.startProxy(proxy, network.nodes[index]!)))
    return bed
  }

  async startProxy(kind: ProxyKind, node: LabNode): Promise<ProxiedNode> {
    const proxied = await startProxy(this.network, this.plane, kind, node, this.#around)
    this.#proxies.set(kind, proxied)
    return proxied
  }

  async stopProxy(kind: ProxyKind): Promise<void> {
    for (const process of Object.values(this.#proxies.get(kind)?.processes ?? {})) await process.down()
  }

  /** The node that this variant's clients are to be on. */
  proxied({ proxy }: Pick<Variant, 'proxy'>): ProxiedNode {
    const found = this.#proxies.get(proxy)
    if (!found) throw new Error(`no node here has ${proxy}`)
    return found
  }

  /** Pods that are to be endpoints. */
  async addPods(node: string, names: readonly string[]): Promise<readonly Pod[]> {
    const pods: Pod[] = []
    for (const name of names) pods.push(await this.network.addPod(node, name))
    await this.plane.createPods(pods)
    return pods
  }

  /** A client on the variant's node. */
  addClient(of: Pick<Variant, 'proxy'>): Promise<Pod> {
    return this.network.addPod(this.proxied(of).node.name, `client-${of.proxy}`)
  }

  /** A Service with port 80. Returns what clients are to call: its VIP, or the endpoints themselves. */
  async addService(
    variant: Variant,
    name: string,
    endpoints: readonly (Address & { readonly zone?: string })[],
    portName = 'http',
  ) {
    if (variant.direct) return endpoints.map(({ ip, port }) => `${ip}:${port}`)
    const vip = `10.100.0.${++this.#services}`
    await this.plane.create(serviceObjects(name, portName, vip, endpoints, variant.settings))
    return [`${vip}:80`] as readonly string[]
  }

  /** Waits until a client is answered in the way that the variant is to serve it. */
  async untilServed(variant: Variant, client: Pod, address: string): Promise<void> {
    const path = `http://${address}/counters`
    let seen = ''
    const isServed = async () => {
      const { code, stdout, stderr } = await curl(client, ['-si', '--max-time', '1', path])
      seen = code === 0 ? stdout : stderr
      const byEnvoy = /^x-envoy-upstream-service-time:/im.test(stdout)
      return code === 0 && /^HTTP\/1.1 200/.test(stdout) && byEnvoy === (variant.layer === 'envoy')
    }
    await waitFor(`${path} by ${variant.name}`, limitMs, isServed, 200).catch(error => {
      throw new Error(`${error.message}; the last answer was: ${seen}`)
    })
  }
}

async function startProxy(
  network: Network,
  plane: ControlPlane,
  proxy: ProxyKind,
  node: LabNode,
  around: Around,
): Promise<ProxiedNode> {
  const logFile = (name: string) => join(network.directory, `${node.name}-${name}.log`)
  const supervise = (words: readonly string[], name: string) => {
    const [command = '', ...args] = around(words, node, name)
    return new Supervised(network.processes, { netns: node.netns, command, args, options: { logFile: logFile(name) } })
  }
  const processes: Readonly<Record<string, Supervised>> =
    proxy === 'lightpath'
      ? {
          agent: supervise(agentCommand(network, node, ['--kubeconfig', plane.kubeconfig]), 'agent'),
          envoy: supervise(await envoyCommand(network, node, envoyWorkers), 'envoy'),
        }
      : { 'kube-proxy': supervise(plane.kubeProxyCommand(node, proxy), 'kube-proxy') }
  for (const process of Object.values(processes)) await process.up()
  return { node, processes }
}
