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
import { elementName, type Family, type OwnObject, ownObjects, type Transport, transports } from './elements.ts'
import { type Chain, ruleText } from './nftables/operations.ts'
import { inSet, ofTransport, type Rule } from './nftables/rules/statement.ts'
import type { SetDefinition } from './nftables/sets.ts'

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

/** The chain, and the sets of clients, which all chains of a port share. */
export function planAffinity(plan: AffinityPlan): ReadonlyMap<string, string> {
  const { family, endpoints, transport, seconds } = plan
  const clients = endpoints.map(endpoint => elementName(family, 'clients', clientsKey(plan, endpoint)))
  const most = plan.isExternal ? maxClients.fromOutside : maxClients.ofNode
  const value = affinityValue({ transport, seconds, most, endpoints })
  return new Map([[elementName(family, 'affinity', plan.key), value], ...clients.map(name => [name, ''] as const)])
}

/** What a chain of affinity does; the value of its element. */
interface AffinityRules extends Pick<AffinityPlan, 'transport' | 'seconds' | 'endpoints'> {
  /** How many clients of an endpoint are remembered. */
  readonly most: number
}

/** `tcp 10800 4096 10.1.0.1 . 80, 10.1.0.2 . 80` */
function affinityValue({ transport, seconds, most, endpoints }: AffinityRules): string {
  return `${transport} ${seconds} ${most} ${endpoints.map(({ ip, port }) => `${ip} . ${port}`).join(', ')}`
}

function parseAffinityValue(value: string): AffinityRules {
  const [transport, seconds, most] = value.split(' ', 3) as [Transport, string, string]
  const endpoints = value.slice(transport.length + seconds.length + most.length + 3).split(', ')
  return {
    transport,
    seconds: Number(seconds),
    most: Number(most),
    endpoints: endpoints.map(endpoint => {
      const [ip, port] = endpoint.split(' . ') as [string, string]
      return { ip, port: Number(port) }
    }),
  }
}

/** The chain of a key and its value. */
export function affinityChain(key: string, value: string): Chain {
  const plan = parseAffinityValue(value)
  const { transport, endpoints, seconds, most } = plan
  const ways = endpoints.map(endpoint => {
    const set = objectName('clients', `${placeOf(key)} . ${endpoint.ip} . ${endpoint.port} . ${most}`)
    const remember: Rule = [{ kind: 'remember', set, seconds }, ofTransport(transport), { kind: 'dnat', to: endpoint }]
    return { set, remember }
  })
  return {
    name: objectName('affinity', key),
    rules: [
      ...ways.map(({ set, remember }) => [inSet(['saddr'], set), ...remember]),
      ...ways.map(({ remember }, slot): Rule => [{ kind: 'random zero', mod: endpoints.length - slot }, ...remember]),
      [ofTransport(transport), { kind: 'dnat to one of', endpoints }],
    ],
  }
}

/**
 * The value of a chain that has these rules, as text. Where no value makes such rules, it is one that no Service has.
 *
 * @param remembered by its rules that put clients into sets, in their order
 */
export function readAffinity(
  family: Family,
  key: string,
  remembered: readonly { readonly set: string; readonly seconds: number }[],
  rules: readonly string[],
): string {
  const [first] = remembered
  const sets = remembered.slice(0, remembered.length / 2).map(({ set }) => parseObjectName(set)?.key.split(' . ') ?? [])
  const [, transport, , , , most] = sets[0] ?? []
  const endpoints = sets.map(parts => ({ ip: parts[3] ?? '', port: Number(parts[4]) }))
  if (first === undefined || !transports.some(name => name === transport)) return rules.join('\n')
  const value = affinityValue({
    transport: transport as Transport,
    seconds: first.seconds,
    most: Number(most),
    endpoints,
  })
  const expected = affinityChain(key, value).rules.map(rule => ruleText(family, rule))
  return String(expected) === String(rules) ? value : rules.join('\n')
}

/** The number of clients is a part of it, since a set cannot change it. */
function clientsKey({ key, isExternal }: AffinityPlan, { ip, port }: Endpoint): string {
  const most = isExternal ? maxClients.fromOutside : maxClients.ofNode
  return `${placeOf(key)} . ${ip} . ${port} . ${most}`
}

function placeOf(key: string): string {
  return key.split(' . ', 3).join(' . ')
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

export function clientsSet(key: string): SetDefinition {
  const most = key.slice(key.lastIndexOf(' ') + 1)
  return { name: objectName('clients', key), key: ['address'], dynamicSize: Number(most) }
}
