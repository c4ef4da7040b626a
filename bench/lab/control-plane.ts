/** A real kube-apiserver inside a node's namespace, and kube-proxies in those of nodes. */

import { generateKeyPairSync } from 'node:crypto'
import { once } from 'node:events'
import { cpSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { Agent, type IncomingMessage, request } from 'node:http'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { LabNode, Network } from '../../src/lab/network.ts'
import type { Child } from '../../src/lab/processes.ts'
import { waitFor } from '../../src/lab/wait.ts'
import { programs } from '../../test/cluster/apiserver.ts'
import type { Cluster } from './generate.ts'
import { JsonLog } from './node.ts'

const port = 6443
const token = 'bench'
/** Of all nodes. */
export const nearZone = 'near'
const proxy = fileURLToPath(new URL('../programs/api-proxy.ts', import.meta.url))
/** Requests at a time. */
const creators = 48

export class ControlPlane {
  readonly kubeconfig: string
  readonly #network: Network
  readonly #node: Host
  readonly #programs: Child[] = []
  readonly #namespaces = new Set<string>()
  readonly #agent = new Agent({ keepAlive: true, maxSockets: creators })

  private constructor(network: Network, node: Host) {
    this.#network = network
    this.#node = node
    this.kubeconfig = join(network.directory, 'kubeconfig')
  }

  /**
   * @param node the namespace that it is in, and its address there
   * @param kept what an earlier one held, by `keep`
   */
  static async start(network: Network, node: Host, kept?: string): Promise<ControlPlane> {
    const plane = new ControlPlane(network, node)
    if (kept !== undefined) cpSync(kept, plane.#data, { recursive: true })
    await plane.#start()
    if (kept === undefined) await plane.#createNodes()
    return plane
  }

  /** Copies what etcd holds to a new directory. */
  keep(directory: string): void {
    const partial = `${directory}.partial`
    rmSync(partial, { recursive: true, force: true })
    this.signal('SIGSTOP')
    cpSync(this.#data, partial, { recursive: true })
    this.signal('SIGCONT')
    renameSync(partial, directory)
  }

  /** Creates all of a cluster and more, each namespace before what is in it. */
  async load(
    cluster: Cluster,
    more: readonly object[],
    tell: (done: number, all: number) => void = () => {},
  ): Promise<void> {
    await this.create([...objectsOf(cluster), ...more], tell)
  }

  /** Those of the network, all in one zone. */
  #createNodes(): Promise<void> {
    const labels = { 'topology.kubernetes.io/zone': nearZone }
    const nodes = this.#network.nodes.map(({ name, address }) => {
      const status = { addresses: [{ type: 'InternalIP', address }] }
      return { apiVersion: 'v1', kind: 'Node', metadata: { name, labels }, status }
    })
    return this.#create(nodes)
  }

  /** As the kubelet would report them; an agent leaves endpoints that are no known pods to the kernel layer. */
  async createPods(pods: readonly PodObject[]): Promise<void> {
    await this.create([{ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'bench' } }])
    for (const { name, ip, node } of pods) {
      const metadata = { name, namespace: 'bench' }
      const spec = { nodeName: node, containers: [{ name: 'server', image: 'server' }] }
      const pod = { apiVersion: 'v1', kind: 'Pod', metadata, spec }
      await this.ask('POST', collectionOf(pod), pod)
      const status = { phase: 'Running', podIP: ip, podIPs: [{ ip }] }
      await this.ask('PUT', `${collectionOf(pod)}/${name}/status`, { ...pod, status })
    }
  }

  /** Namespaces first; those that exist stay. */
  async create(objects: readonly object[], tell: (done: number, all: number) => void = () => {}): Promise<void> {
    const isNamespace = (object: object) => (object as Named).kind === 'Namespace'
    const names = (object: object) => (object as Named).metadata.name
    const missing = objects.filter(object => isNamespace(object) && !this.#namespaces.has(names(object)))
    await this.#create(missing)
    for (const object of missing) this.#namespaces.add(names(object))
    await this.#create(
      objects.filter(object => !isNamespace(object)),
      tell,
    )
  }

  /** Of etcd and kube-apiserver. */
  get pids(): readonly number[] {
    return this.#programs.map(({ pid }) => pid)
  }

  /** Stops everything of it (SIGSTOP), or has it go on (SIGCONT). */
  signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    for (const program of this.#programs) program.kill(signal)
  }

  /** Returns when it was answered, milliseconds since the epoch. */
  async replace(object: object): Promise<number> {
    const { metadata } = object as Named
    return (await this.ask('PUT', `${collectionOf(object)}/${metadata.name}`, object)).at
  }

  /** Rejects for any answer but a good one. */
  async ask(method: string, path: string, body?: object): Promise<Answer> {
    const asked = request({ socketPath: this.#socket, agent: this.#agent, method, path })
    asked.end(body && JSON.stringify(body))
    const [answer] = (await once(asked, 'response')) as [IncomingMessage]
    const text = (await answer.toArray()).join('')
    if (answer.statusCode! >= 300) throw new Error(`${method} ${path}: ${answer.statusCode} ${text}`)
    return { at: Number(answer.headers['answered-at']), text }
  }

  /** Its log has a line `SyncProxyRules complete` for each sync. */
  async startKubeProxy(node: LabNode): Promise<{ readonly process: Child; readonly log: JsonLog }> {
    const [program = '', ...args] = this.kubeProxyCommand(node, 'nftables')
    const logFile = join(this.#network.directory, 'kube-proxy.log')
    const process = await this.#spawn(node, program, args, logFile)
    return { process, log: new JsonLog(logFile) }
  }

  /** What starts it. */
  kubeProxyCommand(node: LabNode, mode: 'nftables' | 'iptables'): readonly string[] {
    const configuration = {
      apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
      kind: 'KubeProxyConfiguration',
      mode,
      hostnameOverride: node.name,
      clusterCIDR: '10.0.0.0/8',
      clientConnection: { kubeconfig: this.kubeconfig },
      conntrack: { maxPerCore: 0, min: 0 },
      logging: { format: 'json', verbosity: 2 },
    }
    const file = join(this.#network.directory, `${node.name}-kube-proxy.yaml`)
    writeFileSync(file, JSON.stringify(configuration))
    return [join(programs, 'kube-proxy'), `--config=${file}`]
  }

  async #start(): Promise<void> {
    const { directory } = this.#network
    const path = (name: string) => join(directory, name)
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
    writeFileSync(path('service-accounts.key'), privateKey.export({ type: 'pkcs8', format: 'pem' }))
    writeFileSync(path('tokens.csv'), `${token},admin,1,system:masters\n`)
    writeFileSync(this.kubeconfig, kubeconfigFor(this.#node.address))
    const etcd = await this.#spawn(
      this.#node,
      'etcd',
      [`--data-dir=${this.#data}`, '--unsafe-no-fsync'],
      path('etcd.log'),
    )
    const flags = {
      'etcd-servers': 'http://127.0.0.1:2379',
      'secure-port': port,
      'cert-dir': path('certificates'),
      'advertise-address': this.#node.address,
      'endpoint-reconciler-type': 'none',
      'service-cluster-ip-range': '10.96.0.0/12',
      // It waits for accounts that a controller would make, of which there is none here.
      'disable-admission-plugins': 'ServiceAccount',
      'token-auth-file': path('tokens.csv'),
      'service-account-issuer': 'https://kubernetes.default.svc',
      'service-account-key-file': path('service-accounts.key'),
      'service-account-signing-key-file': path('service-accounts.key'),
    }
    const args = Object.entries(flags).map(([name, value]) => `--${name}=${value}`)
    this.#programs.push(etcd, await this.#spawn(this.#node, 'kube-apiserver', args, path('kube-apiserver.log')))
    const proxyArgs = [proxy, '--socket', this.#socket, '--port', String(port), '--token', token]
    await this.#spawn(this.#node, process.execPath, proxyArgs, path('api-proxy.log'))
    await waitFor('kube-apiserver', 90_000, () => this.ask('GET', '/readyz').catch(() => undefined), 500)
  }

  async #create(objects: readonly object[], tell: (done: number, all: number) => void = () => {}): Promise<void> {
    const left = objects.toReversed()
    const createSome = async () => {
      for (let object = left.pop(); object !== undefined; object = left.pop()) {
        await this.ask('POST', collectionOf(object), object)
        tell(objects.length - left.length, objects.length)
      }
    }
    await Promise.all(Array.from({ length: creators }, createSome))
  }

  get #data(): string {
    return join(this.#network.directory, 'etcd')
  }

  get #socket(): string {
    return join(this.#network.directory, 'api.sock')
  }

  #spawn({ netns }: Pick<LabNode, 'netns'>, program: string, args: readonly string[], logFile: string): Promise<Child> {
    return this.#network.processes.spawnIn(netns, resolve(programs, program), args, { logFile })
  }
}

/** Its namespaces, Services and EndpointSlices. */
export function objectsOf(cluster: Cluster): readonly object[] {
  const numbers = Array.from({ length: cluster.size.services }, (_, number) => number)
  return [...cluster.namespaces(), ...numbers.flatMap(number => [cluster.service(number), cluster.slice(number)])]
}

interface Answer {
  /** When it came, milliseconds since the epoch. */
  readonly at: number
  readonly text: string
}

interface PodObject {
  readonly name: string
  readonly ip: string
  /** Name of its node. */
  readonly node: string
}

type Host = Pick<LabNode, 'netns' | 'address'>

interface Named {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: { readonly name: string; readonly namespace?: string }
}

function collectionOf(object: object): string {
  const { apiVersion, kind, metadata } = object as Named
  const group = apiVersion === 'v1' ? '/api/v1' : `/apis/${apiVersion}`
  const namespace = metadata.namespace === undefined ? '' : `/namespaces/${metadata.namespace}`
  return `${group}${namespace}/${kind.toLowerCase()}s`
}

function kubeconfigFor(address: string): string {
  return `apiVersion: v1
kind: Config
current-context: bench
contexts: [{name: bench, context: {cluster: bench, user: bench}}]
clusters: [{name: bench, cluster: {server: "https://${address}:${port}", insecure-skip-tls-verify: true}}]
users: [{name: bench, user: {token: ${token}}}]
`
}
