/**
 * A real cluster of two nodes (hack/cluster) with real pods and DNS, and the test deployment on it. Lightpath is deployed
 * from its images, or agent and Envoy are processes in each node's network namespace.
 */

import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
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

  /** A cluster of so many nodes, on which `deploy` installs Lightpath. */
  static of(count: number, deploy: (cluster: Nodes) => Promise<void>): Promise<Nodes> {
    return Nodes.#create('nftables', deploy, 'routed', count)
  }

  /** The same by the Helm chart. */
  static charted(): Promise<Nodes> {
    return Nodes.#create('nftables', cluster => cluster.#installChart())
  }

  static async #create(
    kubeProxy: string,
    start: (cluster: Nodes) => Promise<void>,
    network: 'routed' | 'bridged' = 'routed',
    count = nodes.length,
  ): Promise<Nodes> {
    const cluster = new Nodes(`lightpath-test-${process.pid}`)
    try {
      await cluster.hack('up', '--kube-proxy', kubeProxy, '--network', network, '--nodes', String(count))
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

  async #installChart(): Promise<void> {
    const { stdout } = await run(join(root, 'images/build'), { env: this.env })
    const images = stdout
      .trim()
      .split('\n')
      .map(line => line.split(' ') as [image: string, archive: string])
    for (const [, archive] of images) await this.hack('load', archive)
    const [agent, proxy] = images.map(([image]) => image.split(':')[1]!)
    const values = ['--set', `images.agent.tag=${agent},images.proxy.tag=${proxy}`]
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
    const pid = await this.#processOf(await this.#clientPod(node))
    const inPod = ['--net', '--target', pid, process.execPath, loadClient, '--url', url, ...args]
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

  /** Any process of a pod: all share its network namespace. */
  async #processOf(pod: string): Promise<string> {
    const uid = await this.kubectl('get', pod, '-o', 'jsonpath={.metadata.uid}')
    const found = await run('find', [
      '/sys/fs/cgroup',
      '-path',
      `*/pod${uid}/*/cgroup.procs`,
      '-exec',
      'cat',
      '{}',
      '+',
    ])
    return found.stdout.split('\n')[0]!
  }
}

/** Rejects when the process ends. */
async function failed(client: ChildProcess): Promise<never> {
  const [code] = await once(client, 'exit')
  throw new Error(`${client.spawnargs.join(' ')} ended with ${code}`)
}
