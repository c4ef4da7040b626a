/** A cluster of two zones of two nodes each, with control planes in both, as docs/scale.md installs them. */

import assert from 'node:assert/strict'
import { parse } from 'yaml'
import { noAdmissionPolicies } from '../apiserver.ts'
import { filesOfZones, withFiles } from '../deploy/kustomize.ts'
import { eventually, type Load, lightpath, Nodes } from '../nodes.ts'
import { sourceOf } from './facts-source.ts'

/** So hack/cluster names them, and gives them their nodes in turn. */
const zones = ['zone-1', 'zone-2'] as const
export const nodes = [1, 2, 3, 4]
const namespace = 'lightpath-system'
const component = 'app.kubernetes.io/component'
const deployments = zones.map(zone => `deployment/lightpath-controlplane-${zone}`)
const gate = noAdmissionPolicies === undefined ? ['deploy/components/reachability-gate'] : []
const apiServer = ['172.30.0.2', 'fd00:30::2']

export interface Pod {
  readonly uid: string
  readonly name: string
  readonly node: number
  readonly ip: string
}

export function zoneOf(node: number): string {
  return zones[(node - 1) % zones.length]!
}

export function nodesOf(zone: string): readonly number[] {
  return nodes.filter(node => zoneOf(node) === zone)
}

export class Domains {
  readonly cluster: Nodes

  private constructor(cluster: Nodes) {
    this.cluster = cluster
  }

  /** @param flags of the agents */
  static async up(...flags: readonly string[]): Promise<Domains> {
    const cluster = await Nodes.zoned(nodes.length, zones.length, cluster => install(cluster, flags))
    // A port without a name that Envoy knows: the kernel layer serves it.
    await cluster.kubectl('expose', 'deployment/whoami', '--name', 'raw', '--port', '81', '--target-port', '8080')
    return new Domains(cluster)
  }

  /**
   * Waits until each replica hears each node, and each agent reads by a replica, and none says that control planes or the API
   * server cannot be reached.
   */
  async settled(): Promise<void> {
    await eventually(120, async () => {
      const replicas = await this.podsOf('controlplane')
      const heard = await Promise.all(replicas.map(replica => this.sample(replica, 'nodes')))
      assert.deepEqual(heard, [4, 4, 4, 4])
      for (const node of nodes) {
        assert.equal(typeof (await sourceOf(this.cluster, node)), 'number')
        assert.doesNotMatch(await this.status(node), /LP10[567]/)
      }
    })
  }

  /** Requests through Envoy and connections by the kernel layer, from a node of each zone, of which none fails. */
  async underLoad(body: () => Promise<void>): Promise<void> {
    const loads = await Promise.all([1, 2].flatMap(node => [this.gets(node), this.connects(node)]))
    const end = () => Promise.all(loads.map(load => load.end()))
    try {
      await body()
    } catch (error) {
      await end()
      throw error
    }
    for (const { errors, requests } of await end()) {
      assert.deepEqual(errors, {})
      assert.ok(requests > 100, `${requests} requests`)
    }
  }

  gets(node: number): Promise<Load> {
    return this.#load(node, 'whoami', 80)
  }

  /** Each on a connection of its own. */
  connects(node: number): Promise<Load> {
    return this.#load(node, 'raw', 81, '--fresh')
  }

  async #load(node: number, service: string, port: number, ...args: readonly string[]): Promise<Load> {
    const url = (await this.cluster.url(service)).replace(/\/$/, `:${port}/`)
    return this.cluster.load(node, url, '--rate', '50', '--connections', '10', ...args)
  }

  ours(...args: readonly string[]): Promise<string> {
    return this.cluster.kubectl('-n', namespace, ...args)
  }

  /** Of a part of Lightpath, such as `node`; those of control planes that are ready. */
  async podsOf(part: 'node' | 'proxy' | 'controlplane'): Promise<readonly Pod[]> {
    const list = JSON.parse(await this.ours('get', 'pods', '-l', `${component}=${part}`, '-o', 'json'))
    const isReady = ({ type, status }: Condition) => type === 'Ready' && status === 'True'
    return (list.items as readonly PodObject[])
      .filter(({ metadata, status }) => !metadata.deletionTimestamp && status.conditions?.some(isReady))
      .map(({ metadata: { uid, name }, spec: { nodeName }, status: { podIP: ip } }) => ({
        ...{ uid, name, ip },
        node: Number(nodeName.replace('node', '')),
      }))
  }

  /** For all replicas of both zones. */
  async scale(replicas: number): Promise<void> {
    await this.ours('scale', ...deployments, '--replicas', String(replicas))
  }

  async rollOver(): Promise<void> {
    await this.ours('rollout', 'restart', ...deployments)
    for (const deployment of deployments) await this.ours('rollout', 'status', deployment, '--timeout', '180s')
  }

  /** A page of a control plane, asked without the API server. */
  async page({ node, ip }: Pod, path: string): Promise<string> {
    return this.cluster.hack('node', String(node), 'curl', '-sS', '--max-time', '5', `http://${ip}:9000${path}`)
  }

  async sample(replica: Pod, name: string): Promise<number> {
    const page = await this.page(replica, '/metrics')
    return Number(new RegExp(`^lightpath_controlplane_${name} (.*)$`, 'm').exec(page)?.[1])
  }

  status(node: number): Promise<string> {
    return lightpath('status', '--socket', this.cluster.socket(node), '--output', 'json')
  }

  /** What an agent knows of the Services of the namespace `whoami`. */
  async services(node: number): Promise<readonly string[]> {
    const rows = await lightpath('services', '--socket', this.cluster.socket(node), '-n', 'whoami', '--output', 'json')
    return (JSON.parse(rows) as readonly Row[]).map(({ name, vip, endpoints }) => `${name} ${vip}: ${endpoints}`).sort()
  }

  explain(service: string, node: number): Promise<string> {
    return lightpath('explain', service, '--socket', this.cluster.socket(node))
  }

  /** Meanwhile all that these nodes send and forward is lost, or what goes to the API server and comes from it. */
  async losing(of: readonly number[], to: 'everywhere' | 'the API server', body: () => Promise<void>): Promise<void> {
    await this.#blackhole('add', of, to)
    try {
      await body()
    } finally {
      await this.#blackhole('del', of, to)
    }
  }

  async #blackhole(does: 'add' | 'del', of: readonly number[], to: 'everywhere' | 'the API server'): Promise<void> {
    for (const node of of) {
      for (const [i, family] of ['-4', '-6'].entries()) {
        const tcp = [apiServer[i]!, 'ipproto', 'tcp']
        // Both ways: a watch hears what comes next, though what it answers is lost.
        const ofApiServer = [
          ['to', ...tcp, 'dport', '6443'],
          ['from', ...tcp, 'sport', '6443'],
        ]
        for (const packets of to === 'everywhere' ? [[]] : ofApiServer) {
          await this.cluster.hack('node', `${node}`, 'ip', family, 'rule', does, 'pref', '1', ...packets, 'blackhole')
        }
      }
    }
  }
}

interface Row {
  readonly name: string
  readonly vip?: string
  readonly endpoints: number
}

interface Condition {
  readonly type: string
  readonly status: string
}

interface PodObject {
  readonly metadata: { readonly uid: string; readonly name: string; readonly deletionTimestamp?: string }
  readonly spec: { readonly nodeName: string }
  readonly status: { readonly podIP: string; readonly conditions?: readonly Condition[] }
}

async function install(cluster: Nodes, flags: readonly string[]): Promise<void> {
  const images = await cluster.loadImages()
  const files = await filesOfZones(zones)
  const main = parse(files['kustomization.yaml']!)
  const add = flags.map(value => ({ op: 'add', path: '/spec/template/spec/containers/0/args/-', value }))
  const patch = { target: { kind: 'DaemonSet', name: 'lightpath-node' }, patch: JSON.stringify(add) }
  const kustomization = {
    ...main,
    images,
    components: [...main.components, 'deploy/components/reachability', ...gate],
    patches: [...main.patches, patch],
  }
  await withFiles({ ...files, 'kustomization.yaml': JSON.stringify(kustomization) }, directory =>
    cluster.hack('kubectl', 'apply', '-k', directory),
  )
  const workloads = await cluster.kubectl('-n', namespace, 'get', 'daemonsets,deployments', '-o', 'name')
  for (const workload of workloads.trim().split('\n')) {
    await cluster.kubectl('-n', namespace, 'rollout', 'status', workload, '--timeout', '180s')
  }
}
