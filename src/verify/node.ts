/**
 * What holds for all Services of a node at once: how pods are told from others, where node ports are open, and which
 * addresses are cluster IPs.
 */

import { familyNames, partsOf, rangeSets } from '../kernel/elements.ts'
import { rangeText } from '../kernel/nftables/bytes.ts'
import type { NftTable } from '../kernel/nftables/snapshot.ts'
import {
  type NodeFacts,
  type NodePlanOptions,
  planNode,
  type Surroundings,
  unknownSurroundings,
} from '../kernel/node.ts'
import type { IpFamily } from '../services/address.ts'
import { contains } from '../services/cidr.ts'
import type { Aspect, Difference } from './compare.ts'
import { mergeRanges } from './ranges.ts'

export interface NodeOptions extends NodePlanOptions {
  readonly podBridgeInterface: string | undefined
  readonly podInterfaceNamePrefix: string | undefined
  readonly masqueradeAll: boolean
}

export type Facts = Pick<Surroundings, 'node' | 'serviceRanges'>

const comparedSets = [...rangeSets, 'service-ranges'] as const

const all = { IPv4: '0.0.0.0/0', IPv6: '::/0' } as const
const notAtAll = 'not at all'

/** How pods are told: `10.244.0.0/16`, `interface cni0`, `interface cali*`; undefined where they are not. */
export function podsOf(family: IpFamily, node: NodeFacts | undefined, options: NodeOptions): string | undefined {
  if (options.detectLocalMode === 'BridgeInterface') return `interface ${options.podBridgeInterface}`
  if (options.detectLocalMode === 'InterfaceNamePrefix') return `interface ${options.podInterfaceNamePrefix}*`
  return mergeRanges(plannedRanges(family, { node, serviceRanges: [] }, options).pods)[0]
}

export function compareWithKubeProxy(
  { chains, sets }: NftTable,
  family: IpFamily,
  facts: Facts,
  options: NodeOptions,
): readonly Difference[] {
  const marking = chains.get('services')?.find(rule => / @cluster-ips .*mark set /.test(rule))
  const [, condition] = /@cluster-ips (.*?) ?meta mark set /.exec(marking ?? '') ?? []
  const pods = podsOf(family, facts.node, options)
  const open = [...(sets.get('nodeport-ips')?.elements.keys() ?? [all[family]])]
  // A kube-proxy owns all cluster IPs.
  const planned = plannedRanges(family, facts, { ...options, ownsClusterIPs: true })
  const ranges = planned['node-port-addresses']
  const single = ranges.filter(range => /\/(32|128)$/.test(range)).map(range => range.split('/')[0]!)
  const isSome = sets.has('nodeport-ips') && !ranges.includes(all[family])
  const wanted = isSome
    ? [...open.filter(ip => ranges.some(range => contains(range, ip))), ...single.filter(ip => !open.includes(ip))]
    : ranges
  return differing(family, {
    'source address replaced': [
      replaced(condition),
      options.masqueradeAll ? 'everybody' : replaced(pods && `!= ${pods}`),
    ],
    // Who masquerades everybody need not tell.
    ...(condition !== '' && { 'how pods are told': [podsIn(condition) ?? notAtAll, pods ?? notAtAll] }),
    'node ports are open on': [open.sort(), [...wanted].sort()],
    ...(isLate(chains, planned['service-ranges'])
      ? {}
      : { 'dropped unless a Service has it': [droppedRanges(chains), mergeRanges(planned['service-ranges'])] }),
  })
}

/**
 * The ServiceCIDRs that kube-proxy has not in its rules yet: it takes what it hears after its first sync, as where it starts
 * with its cluster, with the next full one, up to an hour later (kubernetes `pkg/proxy/nftables`, `OnServiceCIDRsChanged`).
 * No difference of ours.
 */
export function lateServiceRanges({ chains }: NftTable, family: IpFamily, facts: Facts, options: NodeOptions) {
  const planned = plannedRanges(family, facts, { ...options, ownsClusterIPs: true })['service-ranges']
  return isLate(chains, planned) ? mergeRanges(planned) : []
}

/** While kube-proxy knows none it has no rule. One with others has been told otherwise. */
function isLate(chains: NftTable['chains'], planned: readonly string[]): boolean {
  return droppedRanges(chains).length === 0 && planned.length > 0 && chains.has('cluster-ips-check')
}

export function compareWithPlan(
  { sets }: NftTable,
  family: IpFamily,
  facts: Facts,
  options: NodeOptions,
): readonly Difference[] {
  const planned = plannedRanges(family, facts, options)
  const pairs = comparedSets.map(name => {
    const found = [...(sets.get(name)?.elements.keys() ?? [])]
    return [`addresses in the set ${name}`, [mergeRanges(found), mergeRanges(planned[name])]] as const
  })
  return differing(family, Object.fromEntries(pairs))
}

function plannedRanges(family: IpFamily, facts: Facts, options: NodeOptions) {
  const ranges: Record<(typeof comparedSets)[number], string[]> = {
    'node-port-addresses': [],
    pods: [],
    outside: [],
    'service-ranges': [],
  }
  const plan = planNode({ ...unknownSurroundings, ...facts }, { ...options, families: [family] })
  for (const name of plan.keys()) {
    const { set, key } = partsOf(name)
    const known = comparedSets.find(rangeSet => rangeSet === set)
    if (!known) continue
    const range = rangeText(key)
    ranges[known].push(range.includes('/') ? range : `${range}/${family === 'IPv4' ? 32 : 128}`)
  }
  return ranges
}

/** kube-proxy names the ranges of ServiceCIDRs in a rule: `ip daddr { 10.96.0.0/16 } drop`. */
function droppedRanges(chains: NftTable['chains']): readonly string[] {
  const rules = (chains.get('cluster-ips-check') ?? []).map(rule => /daddr (?:\{ (.*) \}|([^@]\S*)) drop$/.exec(rule))
  return mergeRanges(rules.flatMap(rule => (rule?.[1] ?? rule?.[2])?.split(', ') ?? []))
}

/** `ip saddr != 10.244.0.0/16`, `iifname != "cni0"` or nothing; undefined where there is no such rule. */
function replaced(condition: string | undefined): string {
  if (condition === undefined) return 'nobody'
  return condition === '' ? 'everybody' : 'all but pods'
}

function podsIn(condition: string | undefined): string | undefined {
  const [, range, device] = /^(?:ip6? saddr != (\S+)|iif(?:name)? != "(.*)")$/.exec(condition ?? '') ?? []
  if (range !== undefined) return mergeRanges([range])[0]
  return device === undefined ? condition : `interface ${device}`
}

function differing(
  family: IpFamily,
  aspects: Readonly<Record<string, readonly [found: Aspect, expected: Aspect]>>,
): readonly Difference[] {
  return Object.entries(aspects)
    .filter(([, [found, expected]]) => String(found) !== String(expected))
    .map(([what, [found, expected]]) => ofNode(family, what, found, expected))
}

/** A difference that is about all Services. */
export function ofNode(family: IpFamily, what: string, found: Aspect, expected: Aspect): Difference {
  return { service: '(all)', port: '', way: `every way in (${familyNames[family]})`, what, found, expected }
}
