/**
 * Tests whether what Envoy sends in a pod's name leaves as the pod's own would: with the pod's address, and by the same
 * interface. A rule of others for our mark that masquerades, a routing rule, a firewall at output show here.
 *
 *     agent ─ output, before conntrack: Envoy's mark, from the pod, to the endpoint ─ … ─ postrouting, behind NAT: counted, dropped
 */

import { connect } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import type { IpFamily } from '../../net/address.ts'
import { familyNames } from '../family.ts'
import { withNftables } from '../nftables/client.ts'
import type { Operation } from '../nftables/operations.ts'
import {
  count,
  drop,
  from,
  hasMark,
  leavingBy,
  type Rule,
  type Statement,
  setMark,
  to,
} from '../nftables/rules/statement.ts'
import { routeThrough } from '../system/routing/routes.ts'
import type { Pair } from './pairs.ts'
import { countedPackets, makeTestLink, removeTest } from './testlink.ts'

interface Probe extends Pair {
  readonly target: string
  readonly port: number
  /** By which the pod's own packets leave. */
  readonly device: string
}

const tableName = 'lightpath-send'
const devices = ['lightpath4', 'lightpath5'] as const
const targets = { IPv4: '198.18.18.', IPv6: '2001:2:0:1668::' } as const
/** Ports that no pod has, so far as one can know; nothing arrives there. */
const firstPort = 16_700
const timeoutMs = 2000
const betweenMs = 100

/** The fate of a packet, by the counter that counted it; none did where it was lost. */
const outcomes = {
  changed:
    "leaves with another address than the pod's: a rule of others masquerades it, maybe for our mark (--envoy-mark)",
  astray: 'leaves by another interface than what the pod itself sends: a routing rule of others leads elsewhere',
  lost: 'does not leave: a firewall drops it at output',
} as const

/**
 * Says what is wrong, in words; undefined where all pairs are well, and where there is none. Rejects with a
 * CommandError, or an error of netlink.
 */
export async function testSending(pairs: readonly Pair[], envoyMark: number): Promise<string | undefined> {
  await removeSendTest()
  try {
    return await test(pairs, envoyMark)
  } finally {
    await removeSendTest()
  }
}

/** Removes what a test made, also one whose agent was killed; returns whether there was anything. */
export function removeSendTest(netns?: string): Promise<boolean> {
  return removeTest(devices[0], tableName, netns)
}

async function test(pairs: readonly Pair[], envoyMark: number): Promise<string | undefined> {
  const probes = plan(pairs)
  if (probes.length === 0) return undefined
  const routes = probes.map(({ target }) => [target, devices[0]] as const)
  makeTestLink(devices, '02:00:00:00:16:68', routes)
  const families = [...new Set(probes.map(({ family }) => family))]
  const rulesets = families.map(family => rules(family, probes, envoyMark))
  await withNftables(undefined, nft => nft.apply(rulesets))
  const sockets = probes.map(({ target, port }) => connect({ host: target, port }).on('error', () => {}))
  try {
    return await firstWrong(probes, families)
  } finally {
    for (const socket of sockets) socket.destroy()
  }
}

function plan(pairs: readonly Pair[]): readonly Probe[] {
  return pairs.flatMap((pair, index): readonly Probe[] => {
    const route = routeThrough(pair.pod, pair.endpoint)
    // Endpoints on the host's own network are reached without leaving it.
    if (route === undefined || route.isLocal) return []
    const target = `${targets[pair.family]}${index + 1}`
    return [{ ...pair, target, port: firstPort + index, device: route.device }]
  })
}

function rules(family: IpFamily, all: readonly Probe[], envoyMark: number): Operation {
  const probes = all.filter(probe => probe.family === family)
  const perProbe = (rulesOf: (probe: Probe) => readonly Rule[]) => probes.flatMap(rulesOf)
  const ofEnvoy = hasMark('meta', envoyMark)
  return {
    do: 'declare',
    table: { family: familyNames[family], name: tableName },
    sets: [],
    counters: probes.flatMap(({ port }) => ['own', 'changed', 'astray'].map(kind => `${kind}${port}`)),
    chains: [
      {
        name: 'send',
        hook: { type: 'route', hook: 'output', priority: -300 },
        rules: perProbe(({ target, pod, endpoint }) => [
          [
            to(target),
            setMark('meta', envoyMark),
            { kind: 'set address', of: 'saddr', ip: pod.address },
            { kind: 'set address', of: 'daddr', ip: endpoint },
          ],
        ]),
      },
      {
        name: 'seen',
        hook: { type: 'filter', hook: 'postrouting', priority: 300 },
        rules: perProbe(({ port, pod, device }) => {
          const toPort: Statement = { kind: 'port', transport: 'tcp', port }
          return [
            [ofEnvoy, toPort, from(pod.address, true), count(`changed${port}`), drop],
            [ofEnvoy, toPort, leavingBy(device, true), count(`astray${port}`), drop],
            [ofEnvoy, toPort, count(`own${port}`), drop],
            // Whatever took the mark off.
            [toPort, count(`changed${port}`), drop],
          ]
        }),
      },
    ],
  }
}

async function firstWrong(probes: readonly Probe[], families: readonly IpFamily[]): Promise<string | undefined> {
  const deadline = performance.now() + timeoutMs
  for (;;) {
    const counted = new Map<string, number>()
    for (const family of families) {
      for (const [name, packets] of await countedPackets(familyNames[family], tableName)) counted.set(name, packets)
    }
    const found = probes.map(probe => [probe, outcomeOf(probe.port, counted)] as const)
    const wrong =
      found.find(([, outcome]) => outcome !== 'own' && outcome !== 'lost') ??
      found.find(([, outcome]) => outcome === 'lost')
    const isOver = !found.some(([, outcome]) => outcome === 'lost') || performance.now() > deadline
    if (isOver) return wrong && describe(...wrong)
    await delay(betweenMs)
  }
}

function outcomeOf(port: number, counted: ReadonlyMap<string, number>): keyof typeof outcomes | 'own' {
  return (['changed', 'astray', 'own'] as const).find(kind => counted.get(`${kind}${port}`)) ?? 'lost'
}

function describe({ pod, endpoint }: Probe, outcome: keyof typeof outcomes | 'own'): string | undefined {
  if (outcome === 'own') return undefined
  return `what Envoy sends for pod ${pod.address} to ${endpoint} ${outcomes[outcome]}`
}
