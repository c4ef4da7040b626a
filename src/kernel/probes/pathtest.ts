/**
 * A connection that takes a pod's path to Envoy: in through a pod's interface, TPROXY, the routing rule, reverse path
 * filters and the node's firewall, up to Envoy's redirect listener, and back.
 *
 *     agent ─ lightpath0 ═ veth ═ lightpath1 ─ redirected to the ingress of the pod's interface ─ prerouting ─ … ─ Envoy
 *       └──────────── answers, addressed to the pod, are turned to the agent behind the output firewall ───────────┘
 *
 * The agent connects to an address that is reserved for tests (RFC 2544, RFC 5180). On its way the packet gets the
 * pod's address as its source and arrives at the node as one of that pod's, which itself sees nothing. So it is tried
 * from one pod for each set of routing rules that pods are under (system/routing/podrules.ts). Where no pod of this
 * node is known, or tc cannot redirect, it arrives through lightpath1 from another reserved address.
 *
 * That takes CAP_NET_ADMIN alone: a network namespace in a pod's place would take CAP_SYS_ADMIN, and its interface
 * would be none that the CNI's own firewall rules know.
 */

import { connect } from 'node:net'
import type { IpFamily } from '../../net/address.ts'
import { type Family, familyNames } from '../family.ts'
import { NetlinkError } from '../netlink/answer.ts'
import { withNftables } from '../nftables/client.ts'
import type { Hook, Operation } from '../nftables/operations.ts'
import { redirectToEnvoy } from '../nftables/rules/redirect.ts'
import { count, drop, leavingBy, newConnection, type Rule, type Statement, to } from '../nftables/rules/statement.ts'
import type { RulesetOptions } from '../options.ts'
import { podsByRules, type RoutedPod } from '../system/routing/podrules.ts'
import { routesTo } from '../system/routing/routes.ts'
import { countedPackets, makeTestLink, redirectTo, removeTest } from './testlink.ts'

export interface PathTestOptions extends Pick<RulesetOptions, 'steeringMark' | 'targetPort'> {
  readonly family: IpFamily
  /** Addresses that may be of pods of this node. */
  readonly pods: readonly string[]
  /** How long an answer may take. Default 2 s. */
  readonly timeoutMs?: number
}

/** `by` says how packets came in, such as `pod 10.1.0.2 (interface cali7)`. */
export type PathResult =
  | { readonly outcome: 'open'; readonly by: string }
  | { readonly outcome: 'blocked'; readonly by: string; readonly reason: string }
  /** The node has no address of this family. */
  | { readonly outcome: 'absent' }

interface Probe {
  /** The address that the agent connects to. */
  readonly target: string
  readonly client: string
  /** The interface of the pod whose address `client` is; undefined where packets come in by our own. */
  readonly device: string | undefined
}

const tableName = 'lightpath-path'
const devices = ['lightpath0', 'lightpath1'] as const
const [inner, outer] = devices
/** The first of them, and what follows. */
const targets = { IPv4: '198.18.17.', IPv6: '2001:2:0:1667::' } as const
const clients = { IPv4: '198.18.16.67', IPv6: '2001:2:0:1666::2' } as const
/** So that one lost packet, sent again after a second, fails no test. */
const longestMs = 2000
/** How many addresses are looked up; pods under more sets of rules than `mostProbes` there are nowhere. */
const podsLookedAt = 512
const mostProbes = 64

/**
 * Tests the path. Takes some 50 ms, up to 2 s where it is blocked. Leaves nothing behind. Rejects with a CommandError,
 * or an error of netlink.
 */
export async function testPath(options: PathTestOptions): Promise<PathResult> {
  await removePathTest()
  try {
    return await test(options)
  } finally {
    await removePathTest()
  }
}

/** Removes what a test made, also one whose agent was killed; returns whether there was anything. */
export function removePathTest(netns?: string): Promise<boolean> {
  return removeTest(inner, tableName, netns)
}

async function test(options: PathTestOptions): Promise<PathResult> {
  const { family } = options
  const pods = [...podsByRules(family, options.pods.slice(0, podsLookedAt)).values()].slice(0, mostProbes)
  const probes = probesFrom(family, pods)
  makeTestLink(devices, '02:00:00:00:16:66', [
    ...probes.map(({ target }) => [target, inner] as const),
    [clients[family], outer],
  ])
  const agent = routesTo([probes[0]!.target]).get(probes[0]!.target)?.source
  if (agent === undefined || agent.startsWith('fe80:')) return { outcome: 'absent' }
  const [entered, whyOurs] = enter(family, probes)
  await withNftables(undefined, nft => nft.apply([rules(entered, agent, options)]))
  const results = await Promise.all(entered.map((probe, index) => ask(probe, index, options, whyOurs)))
  const blocked = results.find(({ outcome }) => outcome === 'blocked')
  return blocked ?? { outcome: 'open', by: results.map(({ by }) => by).join(', and ') }
}

function probesFrom(family: IpFamily, pods: readonly RoutedPod[]): readonly Probe[] {
  if (pods.length === 0) return [{ target: `${targets[family]}1`, client: clients[family], device: undefined }]
  return pods.map(({ address, device }, index) => ({
    target: `${targets[family]}${index + 1}`,
    client: address,
    device,
  }))
}

/** Redirects packets to the pods' interfaces. Where tc cannot, they come in by our own; then the reason comes along. */
function enter(family: IpFamily, probes: readonly Probe[]): readonly [readonly Probe[], string] {
  const redirections = probes.flatMap(({ client: source, device: to }) =>
    to === undefined ? [] : { family, source, to },
  )
  if (redirections.length === 0) return [probes, 'no pod of this node is known']
  try {
    redirectTo(outer, redirections)
    return [probes, '']
  } catch (error) {
    if (!(error instanceof NetlinkError)) throw error
    return [probesFrom(family, []), `tc: ${error.message}`]
  }
}

/**
 * Makes the rules of the test. One connection to us is two to conntrack, that of the agent to the target and the one
 * from the client: veth makes conntrack forget, and addresses are changed without it. Nobody's NAT sees the first,
 * since it is not tracked: what a CNI masquerades on its way out of the cluster would change its port. The rules of
 * table lightpath keep the connection with Envoy. Answers are routed to the client before they are turned to the agent,
 * so whatever routes them elsewhere shows.
 */
function rules(probes: readonly Probe[], agent: string, options: PathTestOptions): Operation {
  const hook = (type: Hook['type'], hook: Hook['hook'], priority: number): Hook => ({ type, hook, priority })
  const perProbe = (rulesOf: (probe: Probe, index: number) => readonly Rule[]) => probes.flatMap(rulesOf)
  // On a bridge it is redirected to Envoy's port, and is known by where it was to go.
  const ofProbe = (ip: string, direction: 'original' | 'reply'): Rule => [
    { kind: 'original destination', ip },
    { kind: 'direction', direction },
  ]
  return {
    do: 'declare',
    table: { family: familyNames[options.family], name: tableName },
    sets: [],
    counters: probes.flatMap((_, index) => stages.map(({ counter }) => `${counter}${index}`)),
    chains: [
      {
        name: 'arrive',
        hook: hook('filter', 'prerouting', -148),
        rules: perProbe(({ target }, index) => {
          const toEnvoy: Rule = [{ kind: 'port', transport: 'tcp', port: options.targetPort }, newConnection]
          return [
            [to(target), count(`arrived${index}`)],
            [to(target), ...toEnvoy, ...redirectToEnvoy(options.targetPort, options, count(`redirected${index}`))],
            // Later packets go on as those of any connection through Envoy, whatever others do with their mark.
            [to(target), newConnection, drop],
          ]
        }),
      },
      {
        name: 'deliver',
        hook: hook('filter', 'input', 300),
        rules: perProbe(({ target }, index) => [[...ofProbe(target, 'original'), count(`delivered${index}`)]]),
      },
      {
        name: 'answer',
        hook: hook('route', 'output', 300),
        rules: perProbe(({ target, device }, index) => {
          const left = count(`left${index}`)
          const astray: readonly Rule[] =
            device === undefined ? [] : [[...ofProbe(target, 'reply'), leavingBy(device, true), left, drop]]
          const turned: Statement = { kind: 'set address', of: 'daddr', ip: agent }
          return [...astray, [...ofProbe(target, 'reply'), left, count(`answered${index}`), turned]]
        }),
      },
      {
        name: 'untracked',
        hook: hook('filter', 'output', -300),
        rules: [[leavingBy(inner), { kind: 'notrack' }]],
      },
      {
        name: 'depart',
        hook: hook('filter', 'postrouting', 300),
        rules: perProbe(({ target, client }) => [
          [leavingBy(inner), to(target), { kind: 'set address', of: 'saddr', ip: client }],
        ]),
      },
    ],
  }
}

async function ask(
  { client, device, target }: Probe,
  index: number,
  { targetPort, family, timeoutMs = longestMs }: PathTestOptions,
  whyOurs: string,
): Promise<Exclude<PathResult, { outcome: 'absent' }>> {
  const by = device === undefined ? `an interface of its own, since ${whyOurs}` : `pod ${client} (interface ${device})`
  if (await isAnswered(target, targetPort, timeoutMs)) return { outcome: 'open', by }
  return { outcome: 'blocked', by, reason: await whereLost(familyNames[family], index) }
}

/**
 * Connects to Envoy's own port, for which no Service has a listener there: so Envoy closes the connection. The kernel
 * hands over none without a byte of the client's before a second has passed (envoy/resources/connection.ts).
 */
function isAnswered(target: string, targetPort: number, timeoutMs: number): Promise<boolean> {
  return new Promise(resolve => {
    let connected = false
    const socket = connect({ host: target, port: targetPort, signal: AbortSignal.timeout(timeoutMs) })
    socket.on('connect', () => {
      connected = true
      socket.resume().write('?')
    })
    socket.on('error', error => {
      if (error.name === 'AbortError') connected = false
    })
    socket.on('close', () => resolve(connected))
  })
}

/** The counters on the path, and what it means when no packet has come so far. */
const stages = [
  {
    counter: 'arrived',
    lost: 'packets do not come to the prerouting hook: a program of the CNI (tc, XDP) or a rule of priority raw takes them',
  },
  {
    counter: 'redirected',
    lost: 'TPROXY finds no transparent socket: Envoy does not listen, or may not (CAP_NET_ADMIN)',
  },
  {
    counter: 'delivered',
    lost: 'packets are lost between prerouting and Envoy: a firewall drops or rejects at input what pods send to the host, a reverse path filter does, or a routing rule of others comes before the one for redirected packets (ip rule)',
  },
  {
    counter: 'left',
    lost: 'packets come to Envoy and its answers do not leave: a firewall drops them at output',
  },
  {
    counter: 'answered',
    lost: "Envoy's answers to the pod are not routed to its interface: a routing rule or route of others leads elsewhere",
  },
] as const

async function whereLost(family: Family, index: number): Promise<string> {
  const packets = await countedPackets(family, tableName)
  const stage = stages.find(({ counter }) => !packets.get(`${counter}${index}`))
  return stage?.lost ?? 'answers leave and do not come back, or later packets of the connection are lost'
}
