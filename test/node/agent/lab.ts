/** A node with the agent and Envoy on it (envoy-user.ts), manifests to edit, pods, and questions to all of them. */

import { cpSync, mkdirSync, readFileSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { askAgent } from '../../../src/commands/agent.ts'
import { curl, type Load, type LoadOptions, startLoad } from '../../../src/lab/clients.ts'
import * as commandLines from '../../../src/lab/command-lines.ts'
import { Container } from '../../../src/lab/faults/container.ts'
import { createNetwork, type LabNode, type Network, type NetworkOptions, type Pod } from '../../../src/lab/network.ts'
import { type RunningPod, startPod } from '../../../src/lab/pods.ts'
import { type RunOptions, type RunResult, runIn } from '../../../src/lab/processes.ts'
import { Supervised } from '../../../src/lab/supervisor.ts'
import { waitFor } from '../../../src/lab/wait.ts'
import type { Explanation } from '../../../src/node/report/answers/explain.ts'
import { prepareSocketDirectory } from '../../../src/node/system/socketdirectory.ts'
import { type BootstrapOptions, writeBootstrap } from './bootstrap.ts'
import { asEnvoyUser, envoyUser } from './envoy-user.ts'

export const skip = process.getuid?.() === 0 ? false : 'needs root'

const startProgram = fileURLToPath(new URL('../../../images/envoy-start', import.meta.url))

/** Far beyond what anything takes, so that a slow machine fails no test. */
const limitMs = 60_000

export const lightpathProgram = fileURLToPath(new URL('../../../bin/lightpath', import.meta.url))

export interface LabOptions extends Partial<NetworkOptions>, BootstrapOptions {
  /** More flags of `lightpath node`. */
  readonly flags?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  /** Envoy has a container for itself (`envoyContainer`). */
  readonly isEnvoyContained?: boolean
  /** Of the Envoy that follows. */
  readonly followerEnv?: Readonly<Record<string, string>>
}

interface AgentVariation {
  /** More flags. */
  readonly flags?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  readonly source?: string
  /** Ports of control planes on the node, in place of the source. */
  readonly controlPlanes?: readonly number[]
  readonly behind?: readonly string[]
}

/** Who answered a request, and the way that it took: `web-1 by envoy`; for one without an answer what curl says: `curl 7`. */
export type Answer = string

export class AgentLab {
  readonly network: Network
  /** The node that agent and Envoy are on. */
  readonly node: LabNode
  /** The directory that the agent watches. */
  readonly manifests: string
  readonly socket: string
  /** The directory of the sockets between agent and Envoy. */
  readonly envoySockets: string
  readonly agent: Supervised
  readonly envoy: Supervised
  readonly envoyContainer: Container | undefined
  /** One that is to follow it: with ports of its own, as long as `envoy` has its. */
  readonly follower: Supervised
  readonly #files: string
  readonly #flags: readonly string[]

  /** Nothing runs yet; `start` starts both, `agent.up` and `envoy.up` one. */
  static async build(options: LabOptions = {}): Promise<AgentLab> {
    const network = await createNetwork({ nodes: 1, ...options })
    try {
      const envoy = await commandLines.envoy(join(network.directory, 'node', 'bootstrap.json'))
      cpSync(await commandLines.envoyModule(), join(network.directory, 'module'), { recursive: true })
      const lab = new AgentLab(network, asEnvoyUser(envoy, network.directory), options)
      await writeBootstrap(join(lab.#files, 'bootstrap.json'), lab, options)
      return lab
    } catch (error) {
      await network.destroy()
      throw error
    }
  }

  private constructor(network: Network, envoy: commandLines.CommandLine, options: LabOptions) {
    const { flags = [], env, followerEnv, isEnvoyContained = false } = options
    this.network = network
    this.node = network.nodes[0]!
    this.#files = join(network.directory, 'node')
    this.manifests = join(network.directory, 'manifests')
    this.socket = join(this.#files, 'agent.sock')
    this.envoySockets = join(this.#files, 'envoy')
    mkdirSync(this.#files)
    prepareSocketDirectory(this.envoySockets, envoyUser)
    mkdirSync(this.manifests)
    this.#flags = ['--log-level', 'debug', ...flags]
    this.agent = this.agentWith({ env })
    const module = { ENVOY_DYNAMIC_MODULES_SEARCH_PATH: join(network.directory, 'module') }
    this.envoyContainer = isEnvoyContained ? new Container(network, 'envoy') : undefined
    this.envoy = this.#supervise(this.envoyContainer?.around(envoy) ?? envoy, 'envoy.log', module)
    const [program, , bootstrap = '', ...args] = envoy
    const start = { ENVOY_BIN: program, ...module, ...followerEnv }
    this.follower = this.#supervise([startProgram, bootstrap, ...args], 'follower.log', start)
  }

  /** Another agent: with other environment, other manifests, or behind another program such as setpriv. */
  agentWith({ env, source = this.manifests, controlPlanes, behind = [], flags = [] }: AgentVariation): Supervised {
    const addresses = (controlPlanes ?? []).map(port => `127.0.0.1:${port}`).join()
    const from = controlPlanes ? ['--control-planes', addresses] : []
    const files = { ...this, source: controlPlanes ? undefined : source }
    const words = [...behind, ...commandLines.agent('node1', files), ...from, ...this.#flags, ...flags]
    return this.#supervise(words, 'agent.log', env)
  }

  /** A control plane on the node that reads the manifests. */
  controlPlane(port: number): Supervised {
    return this.#supervise(commandLines.controlPlane(this.manifests, port), `control-plane-${port}.log`)
  }

  #supervise([command = '', ...args]: readonly string[], log: string, env?: AgentVariation['env']): Supervised {
    const options = { logFile: join(this.#files, log), env }
    return new Supervised(this.network.processes, { netns: this.node.netns, command, args, options })
  }

  /** Starts what is down and wakes what is stopped; resolves when Envoy and agent have found each other. */
  async start(): Promise<void> {
    for (const process of [this.agent, this.envoy]) process.kill('SIGCONT')
    await Promise.all([this.agent.up(), this.envoy.up()])
    await this.untilEnvoyIsUp()
  }

  destroy(): Promise<void> {
    return this.network.destroy()
  }

  /** A pod that answers at the ports of ../manifests.ts, and is `host` in its node's pod network. */
  pod(name: string, host: number, node = 1): Promise<RunningPod> {
    const addresses = [`10.244.${node}.${host}`, `fd00:244:${node}::${host}`]
    return startPod(this.network, { name, node: `node${node}`, addresses, http: [8080], tcp: [7], udp: [53] })
  }

  pods(names: readonly string[], firstHost: number, node = 1): Promise<RunningPod[]> {
    return Promise.all(names.map((name, index) => this.pod(name, firstHost + index, node)))
  }

  /** The first node as Kubernetes has it, with its pod ranges and addresses. */
  writeNode(): void {
    const { name, address, address6, podCidr, podCidr6 } = this.node
    const addresses = [address, address6].map(ip => ({ type: 'InternalIP', address: ip }))
    const spec = { podCIDRs: [podCidr, podCidr6] }
    this.write('node', [{ apiVersion: 'v1', kind: 'Node', metadata: { name }, spec, status: { addresses } }])
  }

  /** Replaces the manifests of this name by these objects. */
  write(name: string, objects: readonly object[]): void {
    this.writeFile(`${name}.json`, JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects }))
  }

  /** Takes back what `write` wrote. */
  remove(name: string): void {
    rmSync(join(this.manifests, `${name}.json`))
  }

  /** Writes a file whole, as editors and kubectl do. */
  writeFile(file: string, text: string): void {
    const draft = join(this.manifests, `.${file}.new`)
    writeFileSync(draft, text)
    renameSync(draft, join(this.manifests, file))
  }

  /** Runs a command on the node. */
  on(command: string, args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    return runIn(this.node.netns, command, args, options)
  }

  /** Runs Lightpath's command line on the node. */
  lightpath(...args: readonly string[]): Promise<RunResult> {
    return this.on(lightpathProgram, args)
  }

  agentLog(): string {
    return readFileSync(join(this.#files, 'agent.log'), 'utf8')
  }

  forgetLog(): void {
    truncateSync(join(this.#files, 'agent.log'))
  }

  /** Asks once, over a new connection. */
  async ask(from: Pick<Pod, 'netns'>, url: string, ...args: readonly string[]): Promise<Answer> {
    const format = '%header{x-hostname} by %header{x-layer}'
    const { code, stdout } = await curl(from, ['--output', '/dev/null', '--write-out', format, ...args, url])
    return code === 0 ? stdout : `curl ${code}`
  }

  /** Load that is under way. */
  async load(from: Pod, options: LoadOptions): Promise<Load> {
    const load = await startLoad(this.network, from, options)
    // It can be stopped from when it catches SIGTERM (15) on, and then it begins.
    await this.until('load', () => {
      const [, caught = '0'] = /SigCgt:\s*(\w+)/.exec(readFileSync(`/proc/${load.pid}/status`, 'utf8')) ?? []
      return (BigInt(`0x${caught}`) >> 14n) & 1n
    })
    return load
  }

  /** Waits until a request is answered through this layer. */
  async untilServedBy(layer: 'envoy' | 'kernel', from: Pick<Pod, 'netns'>, url: string): Promise<void> {
    let answer = ''
    await waitFor(`an answer by ${layer} from ${url}`, limitMs, async () => {
      answer = await this.ask(from, url)
      return answer.endsWith(` by ${layer}`)
    }).catch(error => this.#fail(`${(error as Error).message}; the last answer was ${answer}`))
  }

  /** `10.96.0.10 . 80` of each VIP:port that the kernel steers to Envoy. */
  async overlay(): Promise<string[]> {
    if (this.#flags.includes('iptables')) {
      const { stdout } = await this.on('ipset', ['save'])
      const members = stdout.matchAll(/^add lightpath-(?:envoy|own)\d (\S+),tcp:(\d+)/gm)
      return [...members].map(([, ip, port]) => `${ip} . ${port}`).sort()
    }
    const sets = await Promise.all(
      ['ip', 'ip6'].flatMap(family =>
        ['envoy', 'envoy-own'].map(set => this.nft('list', 'set', family, 'lightpath', set)),
      ),
    )
    return sets.flatMap(text => [...text.matchAll(/[0-9a-f.:]+ \. \d+/g)].map(([entry]) => entry)).sort()
  }

  /** What nft prints; '' where there is no such thing. */
  async nft(...args: readonly string[]): Promise<string> {
    return (await this.on('nft', args)).stdout
  }

  /** Undefined where the agent does not answer or knows no such Service. */
  async explain(service: string): Promise<Explanation | undefined> {
    const answer = await askAgent<Explanation>(this.socket, `/explain?service=${encodeURIComponent(service)}`)
    return answer.kind === 'answer' ? answer.value : undefined
  }

  async problems(service: string): Promise<readonly string[]> {
    return ((await this.explain(service))?.problems ?? []).map(({ code, reason }) => `${code} ${reason}`)
  }

  /** The first problem in the agent's log that matches, as it was told; waits for it. */
  async untilLogged(what: RegExp): Promise<string> {
    return this.until(`${what} in the log`, () =>
      this.agentLog()
        .split('\n')
        .find(line => what.test(line)),
    )
  }

  /** A page of the agent's HTTP server: its body, or '' where there is no good answer. */
  async page(path: string, port = 9000): Promise<string> {
    const url = `http://127.0.0.1:${port}${path}`
    const { stdout } = await this.on('curl', ['--silent', '--fail', '--max-time', '5', url])
    return stdout
  }

  /** The value of a sample such as `lightpath_envoy_up` or `lightpath_problems{code="LP301"}`; undefined where there is none. */
  async metric(name: string): Promise<number | undefined> {
    const line = (await this.page('/metrics', 9001)).split('\n').find(line => line.startsWith(`${name} `))
    return line === undefined ? undefined : Number(line.slice(name.length + 1))
  }

  async untilEnvoyIsUp(isUp = true): Promise<void> {
    await this.untilMetric('lightpath_envoy_up', Number(isUp))
  }

  /** The page is made once a second, so that it may be older than what has just happened. */
  async untilMetric(name: string, value: number | undefined): Promise<void> {
    await this.until(`${name} ${value ?? 'gone'}`, async () => (await this.metric(name)) === value)
  }

  /** As `waitFor`, with the end of the agent's log where it never comes true. */
  until<T>(what: string, ask: () => T | Promise<T>): Promise<NonNullable<T>> {
    return waitFor(what, limitMs, ask).catch(error => this.#fail((error as Error).message))
  }

  #fail(message: string): never {
    const logs = ['agent.log', 'envoy.log'].map(name => {
      try {
        return `${name}:\n${readFileSync(join(this.#files, name), 'utf8').slice(-1500)}`
      } catch {
        return `${name}: none`
      }
    })
    throw new Error([message, ...logs].join('\n'))
  }
}
