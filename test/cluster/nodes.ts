/**
 * A real cluster of two nodes (hack/cluster) with real pods and DNS, and the test deployment on it. Lightpath is deployed
 * from its images, or agent and Envoy are processes in each node's network namespace.
 */

import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import type { LoadReport } from '../../src/lab/load-report.ts'
import { programs } from './apiserver.ts'

const run = promisify(execFile)
const root = join(import.meta.dirname, '../..')
const loadClient = join(root, 'src/lab/load-client.ts')

export const isRoot = process.getuid?.() === 0
export const nodes = [1, 2]

export async function lightpath(...args: readonly string[]): Promise<string> {
  return (await run(join(root, 'bin/lightpath'), args)).stdout
}

/** Rejects with the last error that `attempt` had, when it has had one for so long. */
export async function eventually<T>(seconds: number, attempt: () => Promise<T>): Promise<T> {
  const deadline = Date.now() + seconds * 1000
  for (;;) {
    try {
      return await attempt()
    } catch (error) {
      if (Date.now() > deadline) throw error
      await delay(300)
    }
  }
}

/** Requests at a steady rate from inside a pod. */
export class Load {
  readonly #client: ChildProcess
  #report = ''

  constructor(client: ChildProcess) {
    this.#client = client
    this.#client.stdout!.setEncoding('utf8').on('data', (text: string) => {
      this.#report += text
    })
  }

  async end(): Promise<LoadReport> {
    this.#client.kill('SIGTERM')
    await once(this.#client, 'close')
    return JSON.parse(this.#report) as LoadReport
  }
}

/** As a kustomization names it. */
export interface Image {
  readonly name: string
  readonly newTag: string
}

export class Nodes {
  readonly #cluster: string
  readonly #processes: ChildProcess[] = []

  private constructor(cluster: string) {
    this.#cluster = cluster
  }

  /** With agent and Envoy of each node as processes. @param settings of the agents, as `key=value` */
  static up(kubeProxy: 'nftables' | 'none', settings: readonly string[]): Promise<Nodes> {
    return Nodes.#create(kubeProxy, async cluster => {
      await cluster.hack('lightpath', ...settings)
    })
  }

  /**
   * With Lightpath from its images and deploy/, beside kube-proxy.
   * @param parts components, and flags of the agents
   */
  static deployed(network: 'routed' | 'bridged' = 'routed', ...parts: readonly string[]): Promise<Nodes> {
    return Nodes.#create('nftables', cluster => cluster.deploy('up', 'labelled', ...parts), network)
  }

  /** The same by the Helm chart, with such values. */
  static charted(...values: readonly string[]): Promise<Nodes> {
    return Nodes.#create('nftables', cluster => cluster.#installChart(values))
  }

  /** A cluster of so many nodes in so many zones, on which `deploy` installs Lightpath. */
  static zoned(count: number, zones: number, deploy: (cluster: Nodes) => Promise<void>): Promise<Nodes> {
    return Nodes.#create('nftables', deploy, 'routed', ['--nodes', String(count), '--zones', String(zones)])
  }

  static async #create(
    kubeProxy: string,
    start: (cluster: Nodes) => Promise<void>,
    network: 'routed' | 'bridged' = 'routed',
    size: readonly string[] = [],
  ): Promise<Nodes> {
    const cluster = new Nodes(`lightpath-test-${process.pid}`)
    try {
      await cluster.hack('up', '--kube-proxy', kubeProxy, '--network', network, ...size)
      await start(cluster)
      await cluster.kubectl('apply', '-f', join(root, 'hack/ci/test-deploy.yaml'))
      for (const workload of ['deployment/whoami', 'daemonset/client']) await cluster.rolledOut(workload)
    } catch (error) {
      await cluster.down()
      throw error
    }
    return cluster
  }

  async down(): Promise<void> {
    for (const child of this.#processes) {
      if (child.exitCode !== null || child.signalCode !== null) continue
      child.kill()
      await once(child, 'exit')
    }
    await this.hack('down')
  }

  /** hack/cluster */
  async hack(...args: readonly string[]): Promise<string> {
    return (await run(join(root, 'hack/cluster'), args, { env: this.env, maxBuffer: 2 ** 24 })).stdout
  }

  /** hack/deploy */
  async deploy(...args: readonly string[]): Promise<void> {
    await run(join(root, 'hack/deploy'), args, { env: this.env })
  }

  /** Puts the images onto every node. */
  async loadImages(): Promise<readonly Image[]> {
    const { stdout } = await run(join(root, 'images/build'), { env: this.env })
    const lines = stdout.trim().split('\n')
    return await Promise.all(
      lines.map(async line => {
        const [image, archive] = line.split(' ') as [string, string]
        await this.hack('load', archive)
        const [name, newTag] = image.split(':') as [string, string]
        return { name, newTag }
      }),
    )
  }

  async #installChart(given: readonly string[]): Promise<void> {
    const [agent, proxy] = (await this.loadImages()).map(({ newTag }) => newTag)
    const images = [`images.agent.tag=${agent}`, `images.proxy.tag=${proxy}`]
    const values = [...images, ...given].flatMap(value => ['--set', value])
    const release = ['lightpath', join(root, 'deploy/chart'), '--namespace', 'lightpath-system', '--create-namespace']
    const wait = ['--wait', '--timeout', '180s']
    await this.hack('control', join(programs, 'helm'), 'install', ...release, ...values, ...wait)
  }

  get env(): NodeJS.ProcessEnv {
    return { ...process.env, LIGHTPATH_CLUSTER: this.#cluster }
  }

  kubectl(...args: readonly string[]): Promise<string> {
    return this.hack('kubectl', '-n', 'whoami', ...args)
  }

  async rolledOut(workload: string): Promise<void> {
    await this.kubectl('rollout', 'status', workload, '--timeout', '120s')
  }

  /** Runs a command in the pod `client` of a node. */
  async client(node: number, ...command: readonly string[]): Promise<string> {
    return await this.kubectl('exec', await this.#clientPod(node), '--', ...command)
  }

  /** What curl in that pod prints, with the headers. */
  curl(node: number, ...args: readonly string[]): Promise<string> {
    return this.client(node, 'curl', '-sSi', '--max-time', '5', ...args)
  }

  /** The first cluster IP of a Service, as a URL. */
  async url(service: string): Promise<string> {
    return `http://${await this.kubectl('get', 'service', service, '-o', 'jsonpath={.spec.clusterIP}')}/`
  }

  /** The IPv4 address of one that does not leave. */
  async readyPodIP(service: string): Promise<string> {
    const ready = '.items[?(@.addressType=="IPv4")].endpoints[?(@.conditions.ready==true)].addresses[0]'
    const slices = ['endpointslices', '-l', `kubernetes.io/service-name=${service}`]
    return (await this.kubectl('get', ...slices, '-o', `jsonpath={${ready}}`)).split(' ')[0]!
  }

  /** Stops the API server, or starts it and waits until it is ready. */
  async apiServer(command: 'stop' | 'start'): Promise<void> {
    await this.hack('api-server', command)
  }

  /** Writes an object to etcd behind the API server's back. @param path below /registry, as the API server has it */
  async writeBehind(path: string, object: unknown): Promise<void> {
    const base64 = (text: string) => Buffer.from(text).toString('base64')
    const body = JSON.stringify({ key: base64(`/registry/${path}`), value: base64(JSON.stringify(object)) })
    await run('nsenter', [this.controlNetwork, 'curl', '-sSf', '--data', body, 'http://127.0.0.1:2379/v3/kv/put'])
  }

  /** Load on a URL from the pod `client` of a node, with the arguments of the load client; ends by `end`. */
  async load(node: number, url: string, ...args: readonly string[]): Promise<Load> {
    const inPod = [await this.clientNetwork(node), process.execPath, loadClient, '--url', url, ...args]
    const client = spawn('nsenter', inPod, { stdio: ['ignore', 'pipe', 'inherit'] })
    this.#processes.push(client)
    const load = new Load(client)
    // It has begun, and can be ended.
    await Promise.race([once(client.stdout, 'data'), once(client, 'exit')])
    return load
  }

  /** Asks a port of a workload's pod by `kubectl port-forward`, as `curl ARGUMENT... http://localhost:PORT/PATH`. */
  async askForwarded(workload: string, port: number, path: string, ...args: readonly string[]): Promise<string> {
    const forward = ['kubectl', '-n', 'lightpath-system', 'port-forward', workload, `:${port}`]
    const client = spawn(join(root, 'hack/cluster'), forward, {
      env: this.env,
      stdio: ['ignore', 'pipe', 'inherit'],
      detached: true,
    })
    try {
      const [line] = (await Promise.race([once(client.stdout, 'data'), failed(client)])) as [Buffer]
      const [, local] = /127\.0\.0\.1:(\d+)/.exec(line.toString())!
      return (await run('nsenter', [this.controlNetwork, 'curl', '-sS', ...args, `http://localhost:${local}${path}`]))
        .stdout
    } finally {
      // With kubectl, which the script has started.
      if (client.exitCode === null) process.kill(-client.pid!)
    }
  }

  /** Below it is all that the cluster has, such as `kubeconfig`. */
  get directory(): string {
    return `/run/${this.#cluster}`
  }

  /** For what is run in the control plane's network, in place of this machine's. */
  get controlNetwork(): string {
    return `--net=/run/netns/${this.#cluster}-control`
  }

  socket(node: number): string {
    return `${this.directory}/node${node}/own/run/lightpath/agent.sock`
  }

  async #clientPod(node: number): Promise<string> {
    const selector = ['-l', 'app=client', '--field-selector', `spec.nodeName=node${node}`]
    return (await this.kubectl('get', 'pods', ...selector, '-o', 'name')).trim()
  }

  /** For what is run in the network of the pod `client` of a node, by nsenter. */
  async clientNetwork(node: number): Promise<string> {
    const uid = await this.kubectl('get', await this.#clientPod(node), '-o', 'jsonpath={.metadata.uid}')
    const [any] = await processesOf(uid)
    return `--net=/proc/${any}/ns/net`
  }
}

/** Kills what runs in a pod, which its kubelet starts again, with an API server or without. @param uid of the pod */
export async function crash(uid: string): Promise<void> {
  const pids = await processesOf(uid)
  const names = await Promise.all(pids.map(pid => readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')))
  // `pause` holds the pod's network. With its first process a container's others end, too.
  const ours = pids.filter((_, i) => names[i]!.trim() !== 'pause')
  await run('kill', ['-KILL', ...ours]).catch(() => undefined)
}

async function processesOf(uid: string): Promise<readonly string[]> {
  const files = ['/sys/fs/cgroup', '-path', `*/pod${uid}/*/cgroup.procs`]
  const { stdout } = await run('find', [...files, '-exec', 'cat', '{}', '+'])
  return [...new Set(stdout.trim().split('\n'))]
}

/** Rejects when the process ends. */
async function failed(client: ChildProcess): Promise<never> {
  const [code] = await once(client, 'exit')
  throw new Error(`${client.spawnargs.join(' ')} ended with ${code}`)
}
