/**
 * Requests through Lightpath against the same programs configured by hand: Envoy reached the same way, and one DNAT rule.
 * Both sides have the same client, the same servers and the same network, and take turns.
 */

import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { curl } from '../../src/lab/clients.ts'
import type { LabNode, Network, Pod } from '../../src/lab/network.ts'
import type { Child } from '../../src/lab/processes.ts'
import { pause, waitFor } from '../../src/lab/wait.ts'
import { Manifests, serviceObjects, writeObjects } from '../lab/generate.ts'
import { dnat, routing, server, staticEnvoy, steering } from '../lab/handwritten.ts'
import { type Address, cpuTime, runInOrThrow, runOrThrow, startAgent, startEnvoy, startEnvoyWith } from '../lab/node.ts'
import { type Load, type Seen, wrk } from '../lab/wrk.ts'
import type { Report } from '../runner/experiment.ts'
import { aim, median, spread } from '../runner/statistics.ts'

export interface DatapathOptions {
  readonly rounds: number
  /** Of one load of one side. */
  readonly seconds: number
  /** How many other Services the kernel layer has. */
  readonly services: number
}

interface Side {
  readonly url: string
  /** Makes this side the one that is in effect. */
  readonly prepare?: () => Promise<void>
  /** Whose CPU time counts. */
  readonly envoy?: Child
}

/** One load of one side in one round. */
interface Sample extends Seen {
  /** Microseconds of Envoy's CPU time a request. */
  readonly cpu: number
}

/** By load, what each round saw of both sides. */
type Samples = ReadonlyMap<Load, { readonly lightpath: Sample; readonly theirs: Sample }[]>

const loads: readonly Load[] = [
  { name: '1 connection', connections: 1 },
  { name: '8 connections', connections: 8 },
  { name: 'a new connection for each request', connections: 4, fresh: true },
]
const vips = { lightpath: '10.100.0.1', theirs: '10.100.0.2' }
const serverPort = 8080
/** With one worker neither side can have its connections spread better over workers. */
const envoyWorkers = 1

export class Datapath {
  readonly #network: Network
  readonly #node: LabNode
  readonly #client: Pod
  readonly #endpoints: readonly Address[]
  readonly #options: DatapathOptions

  private constructor(network: Network, client: Pod, endpoints: readonly Address[], options: DatapathOptions) {
    this.#network = network
    this.#node = network.nodes[0]!
    this.#client = client
    this.#endpoints = endpoints
    this.#options = options
  }

  /** A client and two servers, all on node1. */
  static async create(network: Network, options: DatapathOptions): Promise<Datapath> {
    const [client, ...servers] = await Promise.all(
      ['client', 'server1', 'server2'].map(name => network.addPod('node1', name, { host: hosts[name] })),
    )
    for (const pod of servers) await startEnvoyWith(network, pod.netns, 'server', server(serverPort), 1)
    const endpoints = servers.map(({ ip }) => ({ ip, port: serverPort }))
    const datapath = new Datapath(network, client!, endpoints, options)
    for (const { ip, port } of endpoints) await datapath.#answers(`http://${ip}:${port}/`, /^HTTP\/1.1 200/)
    await forgetClosedConnections([network.nodes[0]!, client!, ...servers])
    return datapath
  }

  async measureEnvoy(): Promise<Report> {
    const { netns } = this.#node
    const source = this.#writeManifests('envoy', 'http')
    const agent = await startAgent(this.#network, this.#node, ['--source', source])
    const envoy = await startEnvoy(this.#network, this.#node, envoyWorkers)
    const vip = { ip: vips.theirs, port: 80 }
    const theirs = await startEnvoyWith(this.#network, netns, 'byhand', staticEnvoy(vip, this.#endpoints), envoyWorkers)
    const urls = { lightpath: `http://${vips.lightpath}/`, theirs: `http://${vips.theirs}/` }
    await this.#answers(urls.lightpath, /x-envoy-upstream-service-time/i)
    await runInOrThrow(netns, 'ip', ['-batch', '-'], routing())
    await this.#nft(steering(vip))
    await this.#answers(urls.theirs, /x-envoy-upstream-service-time/i)

    const samples = await this.#compare({ url: urls.lightpath, envoy }, { url: urls.theirs, envoy: theirs })
    for (const process of [agent.process, envoy, theirs]) await process.stop()
    return report('Envoy: through the VIP of a Service, against a static configuration by hand', samples, 0.05)
  }

  /** Needs no agent: its kernel layer is the ruleset that `lightpath translate` prints. */
  async measureKernel(): Promise<Report> {
    const { services } = this.#options
    const source = this.#writeManifests('kernel', 'tcp')
    new Manifests(source, { services, endpoints: 10 }).write()
    const none = ['ip lightpath', 'ip6 lightpath', 'ip handwritten'].map(
      table => `table ${table} {}\ndelete table ${table}\n`,
    )
    const theirs = dnat({ ip: vips.lightpath, port: 80 }, this.#endpoints)
    for (const rules of [none.join(''), await translate(this.#node, source), theirs]) await this.#nft(rules)
    const samples = await this.#compareTables('handwritten')
    const title = `Kernel layer: a Service among ${services.toLocaleString('en')} others, against one DNAT rule by hand`
    return report(title, samples, 0.02)
  }

  /** This node has Lightpath's table, and another one kube-proxy's, with the same Services, `service('tcp')` among them. */
  async measureKubeProxy(other: LabNode): Promise<Report> {
    await this.#nft(await runInOrThrow(other.netns, 'nft', ['list', 'table', 'ip', 'kube-proxy']))
    const samples = await this.#compareTables('kube-proxy')
    const title = `Kernel layer: a Service among ${this.#options.services.toLocaleString('en')} others, against kube-proxy (nftables)`
    return report(title, samples, 0.02, 'kube-proxy')
  }

  #writeManifests(name: string, portName: string): string {
    const source = join(this.#network.directory, `manifests-${name}`)
    mkdirSync(source)
    writeObjects(join(source, 'measured.json'), this.service(portName))
    return source
  }

  /** The objects of the Service that is measured. */
  service(portName: string): readonly object[] {
    return serviceObjects('measured', portName, vips.lightpath, this.#endpoints)
  }

  /**
   * Lightpath's table and another one, both on this node: the one that waits is dormant. Were they loaded for each turn,
   * the kernel would still be freeing the elements of ten thousand Services while the other side is measured.
   */
  async #compareTables(other: string): Promise<Samples> {
    const url = `http://${vips.lightpath}/`
    const side = (active: string, dormant: string): Side => ({
      url,
      prepare: async () => {
        await this.#nft(`add table ip ${dormant} { flags dormant; }\nadd table ip ${active}\n`)
        await pause(200)
      },
    })
    return this.#compare(side('lightpath', other), side(other, 'lightpath'))
  }

  async #nft(rules: string): Promise<void> {
    await runInOrThrow(this.#node.netns, 'nft', ['-f', '-'], rules)
  }

  async #answers(url: string, pattern: RegExp): Promise<void> {
    const ask = async () => pattern.test((await curl(this.#client, ['-si', url])).stdout)
    await waitFor(`${url} to answer`, 20_000, ask, 200)
  }

  async #compare(lightpath: Side, theirs: Side): Promise<Samples> {
    const samples = new Map(loads.map(load => [load, [] as { lightpath: Sample; theirs: Sample }[]]))
    for (let round = 0; round < this.#options.rounds; round++) {
      const seen = new Map<Side, Sample[]>()
      for (const side of round % 2 === 0 ? [lightpath, theirs] : [theirs, lightpath])
        seen.set(side, await this.#measure(side))
      for (const [index, load] of loads.entries())
        samples.get(load)!.push({ lightpath: seen.get(lightpath)![index]!, theirs: seen.get(theirs)![index]! })
    }
    return samples
  }

  async #measure({ url, prepare, envoy }: Side): Promise<Sample[]> {
    await prepare?.()
    const samples: Sample[] = []
    for (const load of loads) {
      const before = envoy ? cpuTime(envoy) : 0
      const seen = await wrk(this.#client.netns, url, load, this.#options.seconds)
      samples.push({ ...seen, cpu: envoy ? (cpuTime(envoy) - before) / 1000 / seen.requests : 0 })
    }
    return samples
  }
}

const hosts: Readonly<Record<string, number>> = { client: 2, server1: 11, server2: 12 }

/** At once: or the client would soon have no ports left for new ones, and measure the search for one. */
async function forgetClosedConnections(places: readonly { readonly netns: string }[]): Promise<void> {
  const settings = ['net/ipv4/tcp_max_tw_buckets', 'net/netfilter/nf_conntrack_tcp_timeout_time_wait']
  const script = settings.map(name => `echo 1 >/proc/sys/${name}`).join('\n')
  await Promise.all(places.map(({ netns }) => runInOrThrow(netns, 'sh', ['-euc', script])))
}

async function translate(node: LabNode, source: string): Promise<string> {
  const lightpath = fileURLToPath(new URL('../../bin/lightpath', import.meta.url))
  return runOrThrow(lightpath, ['translate', source, '--to', 'nftables', '--node-name', node.name])
}

function report(title: string, samples: Samples, tolerance: number, other = 'by hand'): Report {
  const percent = `${tolerance * 100} %`
  const rows: string[][] = []
  for (const [{ name, connections }, rounds] of samples) {
    const row = (what: string, field: keyof Sample, unit: string, isMeasured: boolean) => {
      // Of the two sides of one round, so that what changes slowly on the machine drops out.
      const ratios = rounds.map(({ lightpath, theirs }) => lightpath[field] / theirs[field])
      const loss = field === 'perSecond' ? 1 - median(ratios) : median(ratios) - 1
      const values = (['lightpath', 'theirs'] as const).map(side => spread(rounds.map(round => round[side][field])))
      rows.push([
        `${name}: ${what}`,
        ...values.map(value => `${value} ${unit}`),
        spread(ratios),
        isMeasured ? aim(`within ${percent}`, loss <= tolerance) : '',
      ])
    }
    if (connections === 1) {
      row('mean latency', 'mean', 'µs', true)
      row('p50', 'p50', 'µs', false)
      row('p99', 'p99', 'µs', false)
    } else row('requests/s', 'perSecond', '', true)
    if (rounds.some(({ lightpath }) => lightpath.cpu > 0)) row("Envoy's CPU a request", 'cpu', 'µs', false)
  }
  const count = [...samples.values()][0]!.length
  return {
    title,
    header: ['', 'Lightpath', other, 'ratio', 'aim'],
    rows,
    notes: [`medians of ${count} rounds, both sides in turns; the ratio is the median of the rounds' ratios`],
    data: { rounds: Object.fromEntries([...samples].map(([{ name }, rounds]) => [name, rounds])) },
  }
}
