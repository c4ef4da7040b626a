/**
 * A connection that takes a pod's way to Envoy: in through a pod's interface, TPROXY, the routing rule, reverse path
 * filters and the node's firewall, up to Envoy's redirect listener, and back.
 *
 *     agent ─ lightpath0 ═ veth ═ lightpath1 ─ redirected to the ingress of the pod's interface ─ prerouting ─ … ─ Envoy
 *       └──────────── answers, addressed to the pod, are turned to the agent behind the output firewall ───────────┘
 *
 * The agent connects to an address that is reserved for tests (RFC 2544, RFC 5180). On its way the packet gets the pod's
 * address as its source and arrives at the node as one of that pod's, which itself sees nothing. Where no pod of this
 * node is known, or tc cannot redirect, it arrives through lightpath1 from another reserved address.
 *
 * That takes CAP_NET_ADMIN alone: a network namespace in a pod's place would take CAP_SYS_ADMIN, and its interface would
 * be none that the CNI's own firewall rules know.
 */

import { connect } from 'node:net'
import type { IpFamily } from '../services/address.ts'
import { CommandError, type CommandPrefix, runCommand } from './command.ts'
import { type Family, familyNames } from './elements.ts'
import { isPodRoute, routesTo } from './routes.ts'
import { hasMark, type RulesetOptions, steerTo } from './ruleset.ts'
import { countedPackets, removeTest, testLink } from './testlink.ts'

export interface PathTestOptions extends Pick<RulesetOptions, 'steeringMark' | 'targetPort'> {
  readonly families: readonly IpFamily[]
  /** Addresses that may be of pods of this node; the first few of each family are looked at. */
  readonly pods: readonly string[]
}

/** `by` says how packets came in, such as `pod 10.1.0.2 (interface cali7)`. */
export type PathResult =
  | { readonly outcome: 'open'; readonly by: string }
  | { readonly outcome: 'blocked'; readonly by: string; readonly reason: string }
  /** The node has no address of this family. */
  | { readonly outcome: 'absent' }

interface Probe {
  readonly family: IpFamily
  /** What is connected to, and what the agent connects from. */
  readonly target: string
  readonly agent: string
  readonly client: string
  /** The interface of the pod whose address `client` is; undefined where packets come in by our own. */
  readonly device: string | undefined
}

const tableName = 'lightpath-path'
const devices = ['lightpath0', 'lightpath1'] as const
const targets = { IPv4: '198.18.16.66', IPv6: '2001:2:0:1666::1' } as const
const clients = { IPv4: '198.18.16.67', IPv6: '2001:2:0:1666::2' } as const
/** So that one lost packet, sent again after a second, fails no test. */
const timeoutMs = 2000
const podsLookedAt = 8

/** Takes some 50 ms, up to 2 s where the path is blocked. Leaves nothing behind. Rejects with a CommandError. */
export async function testPath(options: PathTestOptions): Promise<ReadonlyMap<IpFamily, PathResult>> {
  await removePathTest()
  try {
    return await test(options)
  } finally {
    await removePathTest()
  }
}

/** Removes what a test made, also one whose agent was killed; whether there was anything. */
export function removePathTest(prefix: CommandPrefix = []): Promise<boolean> {
  return removeTest(devices[0], tableName, prefix)
}

async function test(options: PathTestOptions): Promise<ReadonlyMap<IpFamily, PathResult>> {
  await runCommand(['ip', '-batch', '-'], { input: links(options.families) })
  const probes = await plan(options)
  const [entered, byOurs] = await enter(probes)
  await runCommand(['nft', '-f', '-'], { input: entered.map(probe => rules(probe, options)).join('') })
  const results = await Promise.all(
    entered.map(async probe => [probe.family, await ask(probe, options, byOurs)] as const),
  )
  const absent = options.families.map(family => [family, { outcome: 'absent' }] as const)
  return new Map<IpFamily, PathResult>([...absent, ...results])
}

function links(families: readonly IpFamily[]): string {
  const [inner, outer] = devices
  return [
    ...testLink(devices, '02:00:00:00:16:66'),
    ...families.flatMap(family => [
      `route add ${targets[family]} dev ${inner}`,
      `route add ${clients[family]} dev ${outer}`,
    ]),
    '',
  ].join('\n')
}

async function plan({ families, pods }: PathTestOptions): Promise<readonly Probe[]> {
  const isOf = (family: IpFamily) => (address: string) => address.includes(':') === (family === 'IPv6')
  const candidates = families.flatMap(family => pods.filter(isOf(family)).slice(0, podsLookedAt))
  const routes = await routesTo([...families.map(family => targets[family]), ...candidates])
  return families.flatMap(family => {
    const target = targets[family]
    const agent = routes.get(target)?.source
    if (agent === undefined || agent.startsWith('fe80:')) return []
    const pod = candidates.filter(isOf(family)).find(address => isPodRoute(routes.get(address)))
    const device = pod === undefined ? undefined : routes.get(pod)!.device
    return [{ family, target, agent, client: pod ?? clients[family], device }]
  })
}

/** Redirects packets to the pods' interfaces. Where tc cannot, all come in by our own; then the reason comes along. */
async function enter(probes: readonly Probe[]): Promise<readonly [readonly Probe[], string]> {
  const protocols = { IPv4: 'ip prio 1', IPv6: 'ipv6 prio 2' }
  const filters = probes.flatMap(({ family, device }) =>
    device === undefined
      ? []
      : `filter add dev ${devices[1]} ingress protocol ${protocols[family]} u32 match u32 0 0 action mirred ingress redirect dev ${device}\n`,
  )
  if (filters.length === 0) return [probes, 'no pod of this node is known']
  try {
    await runCommand(['tc', '-batch', '-'], { input: `qdisc add dev ${devices[1]} clsact\n${filters.join('')}` })
    return [probes, 'no pod of this node is known']
  } catch (error) {
    if (!(error instanceof CommandError)) throw error
    const ours = probes.map(probe => ({ ...probe, client: clients[probe.family], device: undefined }))
    return [ours, `tc: ${error.message}`]
  }
}

/**
 * The agent's connection to the target is one to conntrack, and the one from the client is another: veth makes conntrack
 * forget, and addresses are changed without it. The rules of table lightpath keep the connection with Envoy.
 */
function rules({ family, target, agent, client }: Probe, options: PathTestOptions): string {
  const name: Family = familyNames[family]
  const toTarget = `${name} daddr ${target}`
  const chain = (title: string, hook: string, ...lines: string[]) =>
    `  chain ${title} {\n    type ${hook}; policy accept;\n${lines.map(line => `    ${line}\n`).join('')}  }\n`
  return [
    `table ${name} ${tableName} {\n`,
    ...stages.map(stage => `  counter ${stage.counter} { }\n`),
    chain(
      'arrive',
      'filter hook prerouting priority -148',
      `${toTarget} counter name arrived`,
      `${toTarget} ${hasMark('meta', options.steeringMark)} accept`,
      `${toTarget} tcp dport ${options.targetPort} ct state new ${steerTo(options, 'counter name steered')}`,
      `${toTarget} drop`,
    ),
    chain('deliver', 'filter hook input priority 300', `${toTarget} counter name delivered`),
    chain(
      'answer',
      'route hook output priority 300',
      `${name} saddr ${target} counter name answered ${name} daddr set ${agent}`,
    ),
    chain('depart', 'filter hook postrouting priority 300', `oifname ${devices[0]} ${name} saddr set ${client}`),
    '}\n',
  ].join('')
}

async function ask(probe: Probe, { targetPort }: PathTestOptions, whyOurs: string): Promise<PathResult> {
  const { client, device, target, family } = probe
  const by = device === undefined ? `an interface of its own, since ${whyOurs}` : `pod ${client} (interface ${device})`
  if (await isAnswered(target, targetPort)) return { outcome: 'open', by }
  return { outcome: 'blocked', by, reason: await whereLost(familyNames[family]) }
}

/** To Envoy's own port, for which no Service has a listener there: so it closes the connection. */
function isAnswered(target: string, targetPort: number): Promise<boolean> {
  return new Promise(resolve => {
    let connected = false
    const socket = connect({ host: target, port: targetPort, signal: AbortSignal.timeout(timeoutMs) })
    socket.on('connect', () => {
      connected = true
      socket.resume()
    })
    socket.on('error', error => {
      if (error.name === 'AbortError') connected = false
    })
    socket.on('close', () => resolve(connected))
  })
}

/** What counts packets on their way, and what it means when none came so far. */
const stages = [
  {
    counter: 'arrived',
    lost: 'packets do not come to the prerouting hook: a program of the CNI (tc, XDP) or a rule of priority raw takes them',
  },
  {
    counter: 'steered',
    lost: 'TPROXY finds no transparent socket: Envoy does not listen, or may not (CAP_NET_ADMIN)',
  },
  {
    counter: 'delivered',
    lost: 'packets are lost between prerouting and Envoy: a firewall drops or rejects at input what pods send to the host, a reverse path filter does, or the routing rule for steered packets is gone',
  },
  {
    counter: 'answered',
    lost: 'packets come to Envoy and its answers do not leave: a firewall drops them at output',
  },
] as const

async function whereLost(family: Family): Promise<string> {
  const packets = await countedPackets(family, tableName)
  const stage = stages.find(({ counter }) => !packets.get(counter))
  return stage?.lost ?? 'answers leave and do not come back, or later packets of the connection are lost'
}
