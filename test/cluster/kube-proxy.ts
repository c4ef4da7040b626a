/**
 * A node that has nothing but an upstream kube-proxy in nftables mode: a network namespace with the node's addresses and
 * no way out, in which the API server of the test is reached on the loopback port that it has outside.
 */

import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, existsSync, openSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { type ApiServerProcess, adminToken, programs } from './apiserver.ts'
import { eventually } from './nodes.ts'

const run = promisify(execFile)
const kubeProxy = join(programs, 'kube-proxy')

/** Why there can be no kube-proxy here; false when there can. */
export const noKubeProxy =
  process.getuid?.() !== 0
    ? 'needs root: network namespaces and nftables'
    : !existsSync(kubeProxy) && `no kube-proxy in ${programs}; hack/kubernetes/build builds it`

export const podNetworks = ['10.244.0.0/16', 'fd00:244::/32']

export class KubeProxyNode {
  readonly name = 'node1'
  readonly addresses = ['172.30.0.11', 'fd00:30::11']
  readonly zone = 'zone-1'
  readonly #api: ApiServerProcess
  readonly #namespace = `lightpath-verify-${process.pid}`
  readonly #processes: ChildProcess[] = []
  readonly #server: Server
  #kubeProxy: ChildProcess | undefined

  constructor(api: ApiServerProcess) {
    this.#api = api
    this.#server = createServer(client => {
      const target = connect(api.port, '127.0.0.1')
      client.pipe(target).pipe(client)
      client.on('error', () => target.destroy())
      target.on('error', () => client.destroy())
    })
  }

  async start(): Promise<void> {
    await this.#makeNamespace()
    await this.#makeNode()
    const socket = join(this.#api.directory, 'node.sock')
    await once(this.#server.listen(socket), 'listening')
    this.spawn('forward', process.execPath, join(import.meta.dirname, 'forward.ts'), String(this.#api.port), socket)
    const config = join(this.#api.directory, 'kube-proxy.json')
    writeFileSync(config, JSON.stringify(this.#configuration()))
    this.#kubeProxy = this.spawn('kube-proxy', kubeProxy, `--config=${config}`)
    await eventually(60, () => this.run('nft', 'list', 'chain', 'ip6', 'kube-proxy', 'services'))
    // When it starts it may miss the zone of its node: 1.37 reads the Node before it begins to listen to what was read.
    for (const zone of ['none', this.zone]) await this.#setZone(zone)
  }

  async stop(): Promise<void> {
    for (const child of this.#processes) {
      if (child.exitCode !== null || child.signalCode !== null) continue
      const exited = once(child, 'exit')
      child.kill('SIGKILL')
      await exited
    }
    this.#server.close()
    await run('ip', ['netns', 'delete', this.#namespace]).catch(() => {})
  }

  /** Runs a command in the node's network and returns what it prints. */
  async run(...command: readonly string[]): Promise<string> {
    const inNode = [`--net=/run/netns/${this.#namespace}`, ...command]
    return (await run('nsenter', inNode, { maxBuffer: 2 ** 26 })).stdout
  }

  /** Starts a process in the node's network; it ends with the node at the latest. */
  spawn(name: string, ...command: readonly string[]): ChildProcess {
    const log = openSync(join(this.#api.directory, `${name}.log`), 'w')
    const inNode = [`--net=/run/netns/${this.#namespace}`, ...command]
    const child = spawn('nsenter', inNode, { stdio: ['ignore', log, log] })
    this.#processes.push(child)
    closeSync(log)
    return child
  }

  /** It keeps its rules and notices nothing any more. */
  freeze(): void {
    this.#kubeProxy!.kill('SIGSTOP')
  }

  get kubeconfig(): string {
    return this.#api.kubeconfig(this.name, `token: ${adminToken}`)
  }

  async #makeNamespace(): Promise<void> {
    await run('ip', ['netns', 'add', this.#namespace])
    await this.run('ip', 'link', 'set', 'lo', 'up')
    await this.run('ip', 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'wire')
    for (const link of ['eth0', 'wire']) await this.run('ip', 'link', 'set', link, 'up')
    const [ipv4, ipv6] = this.addresses
    await this.run('ip', 'address', 'add', `${ipv4}/24`, 'dev', 'eth0')
    await this.run('ip', 'address', 'add', `${ipv6}/64`, 'dev', 'eth0', 'nodad')
  }

  async #setZone(zone: string): Promise<void> {
    const metadata = { labels: { 'topology.kubernetes.io/zone': zone } }
    await this.#api.must('PATCH', `/api/v1/nodes/${this.name}`, { metadata })
  }

  async #makeNode(): Promise<void> {
    await this.#api.must('POST', '/api/v1/nodes', { apiVersion: 'v1', kind: 'Node', metadata: { name: this.name } })
    const addresses = this.addresses.map(address => ({ type: 'InternalIP', address }))
    await this.#api.must('PATCH', `/api/v1/nodes/${this.name}/status`, { status: { addresses } })
  }

  #configuration() {
    return {
      apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
      kind: 'KubeProxyConfiguration',
      mode: 'nftables',
      hostnameOverride: this.name,
      clusterCIDR: podNetworks.join(),
      clientConnection: { kubeconfig: this.kubeconfig },
      conntrack: { maxPerCore: 0, min: 0 },
    }
  }
}
