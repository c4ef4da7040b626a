/** How pods of this node are attached to it, as far as links and routes tell. */

import { runCommand } from './command.ts'

/** Of `ip -details -json link`. */
export interface Link {
  readonly ifname: string
  /** The bridge that it is a port of. */
  readonly master?: string
  readonly linkinfo?: { readonly info_kind?: string }
}

export interface PodNetwork {
  /** Bridges with a veth. */
  readonly bridges: readonly string[]
  /** Interfaces with a host route: a pod each. */
  readonly routed: readonly string[]
  /** What a data plane in eBPF leaves where it runs, such as a tc filter on a pod's interface. */
  readonly programs: readonly string[]
  /** Routing rules that ask where packets come in: what the host sends in a pod's name goes by others. */
  readonly interfaceRules: readonly string[]
}

export async function readLinks(): Promise<readonly Link[]> {
  return JSON.parse((await linesOf('ip', '-details', '-json', 'link')).join('\n')) as readonly Link[]
}

/** Rejects with a CommandError. */
export async function readPodNetwork(): Promise<PodNetwork> {
  const links = await readLinks()
  const ofBoth = async (...words: readonly string[]) =>
    (await Promise.all(['-4', '-6'].map(flag => linesOf('ip', flag, ...words)))).flat()
  const rules = await ofBoth('rule', 'show')
  const network = podNetwork(links, await ofBoth('route', 'show', 'table', 'main'), rules)
  const [first] = network.routed
  if (first === undefined) return network
  // All pods of a node are attached alike.
  const filters = await linesOf('tc', 'filter', 'show', 'dev', first, 'ingress')
  return filters.length === 0 ? network : { ...network, programs: [...network.programs, `tc filter on ${first}`] }
}

const dataPlanes = /^(cilium_|lxc|bpfin|bpfout)/

export function podNetwork(
  links: readonly Link[],
  routes: readonly string[],
  rules: readonly string[] = [],
): PodNetwork {
  const veths = links.filter(({ ifname, linkinfo }) => linkinfo?.info_kind === 'veth' && !/^lightpath\d$/.test(ifname))
  const withRoute = new Set(routes.flatMap(hostRouteDevice))
  return {
    bridges: [...new Set(veths.flatMap(({ master }) => master ?? []))],
    routed: veths
      .filter(({ ifname, master }) => master === undefined && withRoute.has(ifname))
      .map(link => link.ifname),
    programs: links.map(({ ifname }) => ifname).filter(name => dataPlanes.test(name)),
    interfaceRules: rules.filter(rule => / iif (?!lo )/.test(rule)).map(rule => rule.trim()),
  }
}

/** `10.244.1.10 dev cali1 scope link` is one, `10.244.2.0/24 via 172.30.0.12 dev eth0` is not. */
function hostRouteDevice(route: string): readonly string[] {
  const [, device] = /^[0-9a-f.:]+ dev (\S+)/.exec(route) ?? []
  return device === undefined || route.startsWith('fe80:') ? [] : [device]
}

async function linesOf(...command: readonly string[]): Promise<readonly string[]> {
  const lines: string[] = []
  await runCommand(command, { onLine: line => void lines.push(line) })
  return lines
}
