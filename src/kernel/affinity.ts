/**
 * Session affinity ClientIP: a client's address stays with its endpoint, over all ways to a Service port, until it has
 * opened no connection for as long as the Service says.
 *
 * A port has a set of clients for each endpoint, which the kernel fills itself, and one chain:
 *
 *     the client is in the set of an endpoint → refreshed there, and on to that endpoint
 *     else each endpoint with equal chance    → remembered there, and on to that endpoint
 *     else (the set chosen is full)           → any endpoint, not remembered
 *
 * Nothing in the chain looks at the destination, so whatever leads to the port may `goto` it. A change of endpoints
 * rewrites the chain and adds or removes the sets of those that came or went: the clients of the others stay, over a
 * restart of the agent too. nft 1.0.6 can neither compare what a map holds nor put the outcome of one map into another,
 * so one map of clients would still lead to endpoints that are gone.
 */

import type { Endpoint } from '../services/port.ts'
import { elementName, type Family, type OwnObject, ownObjects, type Transport } from './elements.ts'

/**
 * How many clients of an endpoint are remembered. The kernel makes room for all of them at once, 16 bytes each, so it is
 * kube-proxy's number only where clients come from outside; those of a VIP are the pods of this node.
 */
const maxClients = { fromOutside: 65_535, ofNode: 4096 } as const

export interface AffinityPlan {
  readonly family: Family
  /** `10.0.0.1 . tcp . 80`; more words behind it tell several chains of a port apart. */
  readonly key: string
  readonly transport: Transport
  readonly endpoints: readonly Endpoint[]
  readonly seconds: number
  /** Whether there are ways to the port from outside the cluster. */
  readonly isExternal: boolean
}

/** The value that leads to the chain of this key. */
export function affinityVerdict(key: string): string {
  return `goto ${objectName('affinity', key)}`
}

/** The chain, and the sets of clients, which all chains of a port share. The chain's value is its rules, a line each. */
export function planAffinity(plan: AffinityPlan): ReadonlyMap<string, string> {
  const { family, endpoints } = plan
  const elements = new Map([[elementName(family, 'affinity', plan.key), affinityRules(plan).join('\n')]])
  for (const endpoint of endpoints) elements.set(elementName(family, 'clients', clientsKey(plan, endpoint)), '')
  return elements
}

/** As nft lists them, so that a restart finds them equal. */
function affinityRules(plan: AffinityPlan): readonly string[] {
  const { family, transport, endpoints, seconds } = plan
  const ways = endpoints.map(endpoint => {
    const set = objectName('clients', clientsKey(plan, endpoint))
    const to = `meta l4proto ${transport} dnat to ${socketAddress(family, endpoint)}`
    return { set, remember: `update @${set} { ${family} saddr timeout ${nftDuration(seconds)} } ${to}` }
  })
  const slots = endpoints.map(({ ip, port }, slot) => `${slot} : ${ip} . ${port}`).join(', ')
  return [
    ...ways.map(({ set, remember }) => `${family} saddr @${set} ${remember}`),
    ...ways.map(({ remember }, slot) => `numgen random mod ${endpoints.length - slot} 0 ${remember}`),
    `meta l4proto ${transport} dnat ${family} to numgen random mod ${endpoints.length} map { ${slots} }`,
  ]
}

/** The number of clients is a part of it, since a set cannot change it. */
function clientsKey({ key, isExternal }: AffinityPlan, { ip, port }: Endpoint): string {
  const most = isExternal ? maxClients.fromOutside : maxClients.ofNode
  return `${key.split(' . ', 3).join(' . ')} . ${ip} . ${port} . ${most}`
}

function socketAddress(family: Family, { ip, port }: Endpoint): string {
  return family === 'ip' ? `${ip}:${port}` : `[${ip}]:${port}`
}

/** 5400 → `1h30m`, as nft lists it. */
export function nftDuration(seconds: number): string {
  const parts = [
    [Math.floor(seconds / 86_400), 'd'],
    [Math.floor(seconds / 3600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'm'],
    [seconds % 60, 's'],
  ] as const
  return parts.map(([count, unit]) => (count === 0 ? '' : `${count}${unit}`)).join('')
}

/** What nft calls such a chain or set, which may have no colon in its name: `affinity-fd00__1-tcp-80`. */
export function objectName(kind: OwnObject, key: string): string {
  return `${kind}-${key.replaceAll(' . ', '-').replaceAll(':', '_')}`
}

/** Undefined for the names of other chains and sets. */
export function parseObjectName(name: string): { readonly set: OwnObject; readonly key: string } | undefined {
  const [kind, ...parts] = name.split('-')
  const set = ownObjects.find(object => object === kind)
  return set && { set, key: parts.join(' . ').replaceAll('_', ':') }
}

export function renderClients(key: string, family: Family): string {
  const type = family === 'ip' ? 'ipv4_addr' : 'ipv6_addr'
  const most = key.slice(key.lastIndexOf(' ') + 1)
  return `  set ${objectName('clients', key)} {\n    type ${type}\n    size ${most}\n    flags dynamic,timeout\n  }\n`
}

export function renderAffinity(key: string, rules: string): string {
  return `  chain ${objectName('affinity', key)} {\n    ${rules.replaceAll('\n', '\n    ')}\n  }\n`
}
