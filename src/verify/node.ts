/**
 * Compares what holds for all Services of a node at once: how pods are told from others, where node ports are open, and
 * which addresses are cluster IPs.
 */

import { familyNames } from '../kernel/family.ts'
import { rangeText } from '../kernel/nftables/bytes.ts'
import type { Clauses } from '../kernel/nftables/clauses/clause.ts'
import { printClauses } from '../kernel/nftables/clauses/print.ts'
import { partsOf, rangeSets } from '../kernel/nftables/elements/elements.ts'
import { planNode } from '../kernel/nftables/elements/node.ts'
import type { NftTable } from '../kernel/nftables/snapshot.ts'
import { type NodeConfig, type NodeFacts, unknownNode } from '../kernel/nodeconfig.ts'
import type { NodePlanOptions } from '../kernel/options.ts'
import type { IpFamily } from '../net/address.ts'
import { contains } from '../net/cidr.ts'
import { isVerdict, rangesAskedFor, rangesOf, setOfAddress } from './clauses.ts'
import type { Aspect, Difference } from './compare.ts'
import { mergeRanges } from './ranges.ts'

export interface NodeOptions extends NodePlanOptions {
  readonly podBridgeInterface: string | undefined
  readonly podInterfaceNamePrefix: string | undefined
  readonly masqueradeAll: boolean
}

export type Facts = Pick<NodeConfig, 'node' | 'serviceRanges'>

const comparedSets = [...rangeSets, 'service-ranges'] as const

const all = { IPv4: '0.0.0.0/0', IPv6: '::/0' } as const
const notAtAll = 'not at all'

/**
 * Says how pods are told from others: `10.244.0.0/16`, `interface cni0`, `interface cali*`; undefined where they are
 * not.
 */
export function podsOf(family: IpFamily, node: NodeFacts | undefined, options: NodeOptions): string | undefined {
  if (options.detectLocalMode === 'BridgeInterface') return `interface ${options.podBridgeInterface}`
  if (options.detectLocalMode === 'InterfaceNamePrefix') return `interface ${options.podInterfaceNamePrefix}*`
  return mergeRanges(plannedRanges(family, { node, serviceRanges: [] }, options).pods)[0]
}

export function compareWithKubeProxy(
  table: NftTable,
  family: IpFamily,
  facts: Facts,
  options: NodeOptions,
): readonly Difference[] {
  const { chains, sets } = table
  const conditions = conditionsOfMasquerade(table)
  const pods = podsOf(family, facts.node, options)
  const open = sets.has('nodeport-ips') ? [...rangesOf(sets.get('nodeport-ips'))] : [all[family]]
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
      replaced(conditions),
      options.masqueradeAll ? 'everybody' : pods === undefined ? 'nobody' : allButPods,
    ],
    // A kube-proxy that masquerades everybody need not tell pods from others.
    ...(conditions?.length !== 0 && {
      'how pods are told': [conditions ? podsIn(table, conditions) : notAtAll, pods ?? notAtAll],
    }),
    'node ports are open on': [open.sort(), [...wanted].sort()],
    ...(isLate(chains, planned['service-ranges'])
      ? {}
      : { 'dropped unless a Service has it': [droppedRanges(chains), mergeRanges(planned['service-ranges'])] }),
  })
}

/**
 * Returns the ServiceCIDRs that kube-proxy does not have in its rules yet: what it learns after its first sync, as
 * where it starts with its cluster, comes with the next full one, up to an hour later (kubernetes `pkg/proxy/nftables`,
 * `OnServiceCIDRsChanged`). No difference of ours.
 */
export function lateServiceRanges({ chains }: NftTable, family: IpFamily, facts: Facts, options: NodeOptions) {
  const planned = plannedRanges(family, facts, { ...options, ownsClusterIPs: true })['service-ranges']
  return isLate(chains, planned) ? mergeRanges(planned) : []
}

/** While kube-proxy knows no range it has no rule. One with others was given others. */
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
    return [
      `addresses in the set ${name}`,
      [mergeRanges(rangesOf(sets.get(name))), mergeRanges(planned[name])],
    ] as const
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
  const plan = planNode({ ...unknownNode, ...facts }, { ...options, families: [family] })
  for (const name of plan.keys()) {
    const { set, key } = partsOf(name)
    const known = comparedSets.find(rangeSet => rangeSet === set)
    if (!known) continue
    const range = rangeText(key)
    ranges[known].push(range.includes('/') ? range : `${range}/${family === 'IPv4' ? 32 : 128}`)
  }
  return ranges
}

/** Reads the ranges of ServiceCIDRs from the rule in which kube-proxy names them: `ip daddr { 10.96.0.0/16 } drop`. */
function droppedRanges(chains: NftTable['chains']): readonly string[] {
  const rules = chains.get('cluster-ips-check')?.rules ?? []
  const dropped = rules.flatMap(([destination, action]) => {
    return isVerdict(action, 'drop') ? (rangesAskedFor(destination, 'daddr', false) ?? []) : []
  })
  return mergeRanges(dropped)
}

/**
 * Returns the conditions of kube-proxy's rule that marks connections to cluster IPs for masquerade; undefined where it
 * marks none.
 */
function conditionsOfMasquerade({ chains }: NftTable): Clauses | undefined {
  const marking = chains.get('services')?.rules.find(rule => {
    return setOfAddress(rule[0], 'daddr') === 'cluster-ips' && rule.at(-1)?.kind === 'set mark'
  })
  return marking?.slice(1, -1)
}

const allButPods = 'all but pods'

function replaced(conditions: Clauses | undefined): string {
  if (conditions === undefined) return 'nobody'
  return conditions.length === 0 ? 'everybody' : allButPods
}

/** Says `ip saddr != 10.244.0.0/16`, `iifname != "cni0"`; other conditions as they are. */
function podsIn({ family }: NftTable, conditions: Clauses): string {
  const [condition] = conditions
  if (conditions.length === 1 && condition?.kind === 'compare' && condition.op === 'neq') {
    const { field, value } = condition
    if (field.name === 'iifname') return `interface ${value}`
    if (field.name === 'saddr') return mergeRanges([String(value)])[0]!
  }
  return printClauses(family, conditions)
}

function differing(
  family: IpFamily,
  aspects: Readonly<Record<string, readonly [found: Aspect, expected: Aspect]>>,
): readonly Difference[] {
  return Object.entries(aspects)
    .filter(([, [found, expected]]) => String(found) !== String(expected))
    .map(([what, [found, expected]]) => ofNode(family, what, found, expected))
}

/** Makes a difference that is about all Services. */
export function ofNode(family: IpFamily, what: string, found: Aspect, expected: Aspect): Difference {
  return { service: '(all)', port: '', frontend: `every frontend (${familyNames[family]})`, what, found, expected }
}
