/**
 * Tests whether answers of endpoints to a pod of this node pass the prerouting hook, where Envoy's connections from the
 * pod's address are brought back to it (nftables/rules/clientaddress.ts). A data plane that hands packets from
 * interface to interface below netfilter shows here, however it is attached and whatever it is called.
 *
 *     agent ─ lightpath2 ═ veth ═ lightpath3 ─ redirected to the ingress of the endpoint's interface ─ prerouting: counted, dropped
 *
 * A packet from an endpoint's address to a pod's comes in where that endpoint's packets do: by its own interface where
 * it is a pod of this node, by the one that leads to it where it is elsewhere. Where it is not seen, the pod gets a
 * packet to a port that it has not, and answers nobody.
 */

import { connect } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import type { IpFamily } from '../../net/address.ts'
import { familyNames } from '../family.ts'
import { withNftables } from '../nftables/client.ts'
import type { Operation } from '../nftables/operations.ts'
import { count, drop, from, leavingBy, type Rule, to } from '../nftables/rules/statement.ts'
import { routeThrough } from '../system/routing/routes.ts'
import type { Pair } from './pairs.ts'
import { countedPackets, makeTestLink, redirectTo, removeTest } from './testlink.ts'

/** `unseen` names the path of the packets that did not come, `seen` that of those that did. */
export interface ReplyResult {
  readonly seen: readonly string[]
  readonly unseen: readonly string[]
}

interface Probe {
  readonly family: IpFamily
  /** The address that the agent connects to. */
  readonly target: string
  readonly endpoint: string
  readonly pod: string
  /** The interface by which the endpoint's packets come in. */
  readonly device: string
  readonly counter: string
}

const tableName = 'lightpath-reply'
const devices = ['lightpath2', 'lightpath3'] as const
const [inner, outer] = devices
const targets = { IPv4: '198.18.19.', IPv6: '2001:2:0:1669::' } as const
/** A port that no pod has, so far as one can know. */
const port = 16_666
const timeoutMs = 2000
const betweenMs = 100

/**
 * Tests the pairs. Takes some 100 ms, up to 2 s where packets are not seen. Leaves nothing behind. Rejects with a
 * CommandError, or an error of netlink.
 */
export async function testReplies(pairs: readonly Pair[]): Promise<ReplyResult> {
  await removeReplyTest()
  try {
    return await test(pairs)
  } finally {
    await removeReplyTest()
  }
}

/** Removes what a test made, also one whose agent was killed; returns whether there was anything. */
export function removeReplyTest(netns?: string): Promise<boolean> {
  return removeTest(inner, tableName, netns)
}

async function test(pairs: readonly Pair[]): Promise<ReplyResult> {
  const probes = plan(pairs)
  if (probes.length === 0) return { seen: [], unseen: [] }
  const routes = probes.map(({ target }) => [target, inner] as const)
  makeTestLink(devices, '02:00:00:00:16:67', routes)
  const redirections = probes.map(({ family, endpoint, pod, device }) => {
    return { family, source: endpoint, destination: pod, to: device }
  })
  redirectTo(outer, redirections)
  await withNftables(undefined, nft => nft.apply(probes.map(rules)))
  const sockets = probes.map(({ target }) => connect({ host: target, port }).on('error', () => {}))
  try {
    const arrived = await arrivals(probes)
    const isSeen = ({ family, counter }: Probe) => arrived.has(`${familyNames[family]} ${counter}`)
    const words = (some: readonly Probe[]) =>
      some.map(({ endpoint, pod, device }) => `${endpoint} to ${pod} by ${device}`)
    return {
      seen: words(probes.filter(isSeen)),
      unseen: words(probes.filter(probe => !isSeen(probe))),
    }
  } finally {
    for (const socket of sockets) socket.destroy()
  }
}

/** An endpoint's answers come in where the pod's packets to it go out. */
function plan(pairs: readonly Pair[]): readonly Probe[] {
  return pairs.flatMap(({ family, pod, endpoint }, index): readonly Probe[] => {
    const route = routeThrough(pod, endpoint)
    if (route === undefined || route.isLocal) return []
    const target = `${targets[family]}${index + 1}`
    return [{ family, target, endpoint, pod: pod.address, device: route.device, counter: `arrived${index}` }]
  })
}

/** Addresses are changed without conntrack, to which the connection is one to the target. */
function rules({ family, target, endpoint, pod, device, counter }: Probe): Operation {
  const isReply: Rule = [from(endpoint), to(pod), { kind: 'port', transport: 'tcp', port }]
  return {
    do: 'declare',
    table: { family: familyNames[family], name: tableName },
    sets: [],
    counters: [counter],
    chains: [
      {
        name: 'depart',
        hook: { type: 'filter', hook: 'postrouting', priority: 300 },
        rules: [
          [
            leavingBy(inner),
            to(target),
            { kind: 'set address', of: 'saddr', ip: endpoint },
            { kind: 'set address', of: 'daddr', ip: pod },
          ],
        ],
      },
      {
        name: 'arrive',
        hook: { type: 'filter', hook: 'prerouting', priority: -450 },
        rules: [[{ kind: 'interface', of: 'iifname', name: device, isNot: false }, ...isReply, count(counter), drop]],
      },
    ],
  }
}

/** Waits for counters to count, and returns those that did, as `ip arrived0`; not all of them once the time is over. */
async function arrivals(probes: readonly Probe[]): Promise<ReadonlySet<string>> {
  const families = [...new Set(probes.map(({ family }) => familyNames[family]))]
  const deadline = performance.now() + timeoutMs
  for (;;) {
    const arrived = new Set<string>()
    for (const family of families) {
      for (const [name, packets] of await countedPackets(family, tableName)) {
        if (packets > 0) arrived.add(`${family} ${name}`)
      }
    }
    if (arrived.size === probes.length || performance.now() > deadline) return arrived
    await delay(betweenMs)
  }
}
