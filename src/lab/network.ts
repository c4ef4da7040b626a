/**
 * Builds nodes with routed pod networks on one machine, out of network namespaces:
 *
 *     pod 10.244.1.2 ─ veth ─ node1 172.30.0.11 ─ veth ─ fabric (a bridge) ─ veth ─ node2 172.30.0.12 ─ veth ─ pod 10.244.2.2
 *
 * Pods are attached as Calico attaches them: a /32 (and /128) on eth0, a default route to 169.254.1.1 that the node
 * answers ARP for, and no address on the node's end. Nothing leads to the machine's own network. Needs root.
 */

import type { IpFamily } from '../net/address.ts'
import { destroyStale, makeLabDirectory, nameOfLab, netnsPath, removeLab } from './leftovers.ts'
import { Processes, run } from './processes.ts'

export interface NetworkOptions {
  /** How many nodes, node1 and on; 1 to 99. */
  readonly nodes: number
  /** Default: both. */
  readonly families?: readonly IpFamily[]
  /** The nodes' reverse path filter: 2 (loose) as systemd sets it and the default, 1 (strict) as RHEL, 0 as the bare kernel. */
  readonly rpFilter?: 0 | 1 | 2
}

export interface LabNode {
  readonly name: string
  readonly netns: string
  /** 172.30.0.11 for node1; '' without IPv4. */
  readonly address: string
  /** fd00:30::11 for node1; '' without IPv6. */
  readonly address6: string
  /** 10.244.1.0/24 and fd00:244:1::/64 for node1. */
  readonly podCidr: string
  readonly podCidr6: string
}

export interface Pod {
  readonly name: string
  readonly node: string
  readonly netns: string
  /** '' in a network without that family. */
  readonly ip: string
  readonly ip6: string
  /** The node's end of the pod's veth. */
  readonly hostLink: string
}

export interface PodOptions {
  /** The last part of both addresses, 2 to 254: 11 gives 10.244.1.11 and fd00:244:1::11. Default: the first free one. */
  readonly host?: number
}

/** Builds the network, after it has removed what labs of dead processes have left. */
export async function createNetwork(options: NetworkOptions): Promise<Network> {
  destroyStale()
  const network = new Network(options)
  try {
    await network.build()
  } catch (error) {
    await network.destroy()
    throw error
  }
  return network
}

export class Network {
  /** The beginning of the names of all its namespaces. */
  readonly name: string
  /** For logs and other files of the lab; removed with it. */
  readonly directory: string
  /** The namespace between the nodes; a client here is an external one. */
  readonly fabric: string
  readonly nodes: readonly LabNode[]
  readonly processes = new Processes()
  readonly #pods = new Map<string, Pod>()
  readonly #rpFilter: number
  readonly #ipv4: boolean
  readonly #ipv6: boolean

  constructor({ nodes, families = ['IPv4', 'IPv6'], rpFilter = 2 }: NetworkOptions) {
    this.#ipv4 = families.includes('IPv4')
    this.#ipv6 = families.includes('IPv6')
    this.#rpFilter = rpFilter
    this.directory = makeLabDirectory()
    this.name = nameOfLab(this.directory)
    this.fabric = `${this.name}-fabric`
    this.nodes = Array.from({ length: nodes }, (_, index) => this.#node(index + 1))
    process.once('exit', this.#removeNow)
    for (const signal of endingSignals) process.once(signal, exitOnSignal)
  }

  /** Called by `createNetwork`. */
  async build(): Promise<void> {
    const namespaces = [this.fabric, ...this.nodes.map(node => node.netns)]
    const links = this.nodes.map(
      node => `link add ${node.name} netns ${this.fabric} type veth peer name eth0 netns ${node.netns}`,
    )
    await sh(
      ip(namespaces.map(netns => `netns add ${netns}`)),
      ...namespaces.map(netns => inNamespace(netns, sysctls(this.#routerSysctls()), ip(['link set lo up']))),
      ip(links),
      inNamespace(this.fabric, ip(this.#fabricLinks())),
      ...this.nodes.map(node => inNamespace(node.netns, ip(this.#nodeRoutes(node)))),
    )
  }

  /** Pods may be added at the same time. `node` is its name. */
  async addPod(node: string, name: string, options: PodOptions = {}): Promise<Pod> {
    const home = this.#nodeNamed(node)
    const pod = this.#pod(home, name, options.host ?? this.#freeHost(home))
    if (this.#pods.has(name)) throw new Error(`pod ${name}: there is one of this name`)
    if (this.pods().some(other => other.node === node && other.hostLink === pod.hostLink))
      throw new Error(`pod ${name}: its address ${pod.ip || pod.ip6} is taken`)
    this.#pods.set(name, pod)
    await sh(
      ip([`netns add ${pod.netns}`]),
      inNamespace(pod.netns, sysctls([['ipv6/conf/default/accept_dad', 0]])),
      ip([
        `link add ${pod.hostLink} netns ${home.netns} address ${hostMac} type veth peer name eth0 netns ${pod.netns}`,
      ]),
      inNamespace(
        home.netns,
        sysctls([
          [`ipv4/conf/${pod.hostLink}/proxy_arp`, 1],
          [`ipv4/neigh/${pod.hostLink}/proxy_delay`, 0],
        ]),
        ip([
          `link set ${pod.hostLink} up`,
          ...this.#each(`route add ${pod.ip}/32 dev ${pod.hostLink}`, `route add ${pod.ip6}/128 dev ${pod.hostLink}`),
        ]),
      ),
      inNamespace(
        pod.netns,
        ip([
          'link set lo up',
          ...this.#each(`address add ${pod.ip}/32 dev eth0`, `address add ${pod.ip6}/128 dev eth0`),
          'link set eth0 up',
          ...this.#each('route add 169.254.1.1 dev eth0 scope link'),
          ...this.#each(permanent('169.254.1.1'), permanent(hostLinkLocal)),
          ...this.#each('route add 0.0.0.0/0 via 169.254.1.1', `route add ::/0 via ${hostLinkLocal} dev eth0`),
        ]),
      ),
    )
    return pod
  }

  pods(): Pod[] {
    return [...this.#pods.values()]
  }

  /** Removes the pod's network. Its processes are to be stopped before. */
  async removePod(name: string): Promise<void> {
    const pod = this.#pods.get(name)
    if (!pod) throw new Error(`pod ${name}: there is none`)
    await sh(
      inNamespace(this.#nodeNamed(pod.node).netns, ip([`link delete ${pod.hostLink}`])),
      ip([`netns delete ${pod.netns}`]),
    )
    this.#pods.delete(name)
  }

  /** Ends all processes and removes everything. May be called again. */
  async destroy(): Promise<void> {
    await this.processes.stopAll()
    this.#removeNow()
    process.off('exit', this.#removeNow)
    for (const signal of endingSignals) process.off(signal, exitOnSignal)
  }

  readonly #removeNow = (): void => removeLab(this.name)

  #node(number: number): LabNode {
    const name = `node${number}`
    return {
      name,
      netns: `${this.name}-${name}`,
      address: this.#ipv4 ? `172.30.0.${10 + number}` : '',
      address6: this.#ipv6 ? `fd00:30::${10 + number}` : '',
      podCidr: this.#ipv4 ? `10.244.${number}.0/24` : '',
      podCidr6: this.#ipv6 ? `fd00:244:${number}::/64` : '',
    }
  }

  #pod(node: LabNode, name: string, host: number): Pod {
    return {
      name,
      node: node.name,
      netns: `${this.name}-${name}`,
      ip: node.podCidr.replace('.0/24', `.${host}`),
      ip6: node.podCidr6.replace('::/64', `::${host}`),
      hostLink: `pod${host}`,
    }
  }

  #nodeNamed(name: string): LabNode {
    const node = this.nodes.find(candidate => candidate.name === name)
    if (!node)
      throw new Error(`node ${name}: there is none; this network has ${this.nodes.map(n => n.name).join(', ')}`)
    return node
  }

  #freeHost(node: LabNode): number {
    const taken = new Set(this.pods().flatMap(pod => (pod.node === node.name ? pod.hostLink : [])))
    let host = 2
    while (taken.has(`pod${host}`)) host++
    return host
  }

  /** The lines of the families that this network has. */
  #each(ipv4: string, ipv6 = ''): string[] {
    return [this.#ipv4 ? ipv4 : '', this.#ipv6 ? ipv6 : ''].filter(line => line !== '')
  }

  #routerSysctls(): [string, number][] {
    return [
      ['ipv4/ip_forward', 1],
      // Every packet to nowhere is answered, however many there are (default one a second and sender).
      ['ipv4/icmp_ratelimit', 0],
      ['ipv6/icmp/ratelimit', 0],
      ['ipv4/conf/all/rp_filter', this.#rpFilter],
      ['ipv4/conf/default/rp_filter', this.#rpFilter],
      ['ipv6/conf/all/forwarding', 1],
      // Addresses are used at once: nobody else is on these links.
      ['ipv6/conf/default/accept_dad', 0],
    ]
  }

  #fabricLinks(): string[] {
    return [
      'link add fabric type bridge mcast_snooping 0',
      'link set fabric up',
      ...this.#each('address add 172.30.0.1/24 dev fabric', 'address add fd00:30::1/64 dev fabric'),
      ...this.nodes.map(node => `link set ${node.name} master fabric up`),
      ...this.nodes.flatMap(node => this.#podRoutes(node)),
    ]
  }

  #nodeRoutes(node: LabNode): string[] {
    const others = this.nodes.filter(other => other !== node)
    return [
      'link set eth0 up',
      ...this.#each(`address add ${node.address}/24 dev eth0`, `address add ${node.address6}/64 dev eth0`),
      // The fabric answers "unreachable" to every destination that it does not know, such as a VIP that nobody rewrote.
      ...this.#each('route add 0.0.0.0/0 via 172.30.0.1', 'route add ::/0 via fd00:30::1'),
      // As with Calico: what is sent to a pod that is gone goes nowhere.
      ...this.#each(`route add blackhole ${node.podCidr}`, `route add blackhole ${node.podCidr6}`),
      ...others.flatMap(other => this.#podRoutes(other)),
    ]
  }

  #podRoutes(node: LabNode): string[] {
    return this.#each(
      `route add ${node.podCidr} via ${node.address}`,
      `route add ${node.podCidr6} via ${node.address6}`,
    )
  }
}

/** Every node's end has the same one, as with Calico, and so the same link-local address. */
const hostMac = 'ee:ee:ee:ee:ee:ee'
const hostLinkLocal = 'fe80::ecee:eeff:feee:eeee'

/**
 * A pod's entry for its node. One that the kernel finds out counts among the 1,024 that it has room for, those of all namespaces
 * together, and packets are lost where it has no room.
 */
const permanent = (address: string) => `neighbour add ${address} lladdr ${hostMac} dev eth0 nud permanent`

const endingSignals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

function exitOnSignal(signal: NodeJS.Signals): never {
  process.exit(signal === 'SIGINT' ? 130 : 143)
}

function ip(lines: readonly string[]): string {
  return `ip -batch - <<'END_IP'\n${lines.join('\n')}\nEND_IP`
}

function sysctls(values: readonly [string, number][]): string {
  return values.map(([key, value]) => `echo ${value} >/proc/sys/net/${key}`).join('\n')
}

function inNamespace(netns: string, ...script: string[]): string {
  return `nsenter --net=${netnsPath(netns)} sh -eu <<'END_NETNS'\n${script.join('\n')}\nEND_NETNS`
}

async function sh(...script: string[]): Promise<void> {
  const { code, stderr } = await run('sh', ['-eu'], { input: script.join('\n'), timeoutMs: 30_000 })
  if (code !== 0)
    throw new Error(`lab network: ${stderr.trim() || 'timed out'}; it needs root, iproute2 and util-linux`)
}
