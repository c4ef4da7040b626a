/**
 * Session affinity ClientIP: a client's address stays with its endpoint, over all frontends of a port, until it has
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

import { isDeepStrictEqual } from 'node:util'
import type { Endpoint } from '../../../plan/ports/port.ts'
import { type Family, type Transport, transports } from '../../family.ts'
import {
  addressLengths,
  addressPortBytes,
  addressPortOf,
  type Bytes,
  gotoBytes,
  protocolPart,
  wordAt,
  wordBytes,
} from '../bytes.ts'
import type { Clauses } from '../clauses/clause.ts'
import { printClauses } from '../clauses/print.ts'
import { type Chain, ruleClauses } from '../operations.ts'
import { inSet, ofTransport, type Rule } from '../rules/statement.ts'
import { growingSize, type SetDefinition } from '../sets.ts'
import { type ElementName, elementName } from './elements.ts'
import { clientsKey, mostClients, objectName, parseObjectName, placeOf, restOf } from './ownobjects.ts'

export interface AffinityPlan {
  readonly family: Family
  readonly key: Bytes
  readonly transport: Transport
  readonly endpoints: readonly Endpoint[]
  readonly seconds: number
}

/** Returns the value that leads to the chain of this key. */
export function affinityVerdict(family: Family, key: Bytes): Bytes {
  return gotoBytes(objectName(family, 'affinity', key))
}

/** Plans the chain, and the sets of clients, which all chains of a port share. */
export function planAffinity(plan: AffinityPlan): ReadonlyMap<ElementName, Bytes> {
  const { family, key, endpoints, transport, seconds } = plan
  // As behind kube-proxy.
  const most = growingSize
  const sets = endpoints.map(endpoint => {
    return elementName(family, 'clients', clientsKey(placeOf(family, key), endpoint, most))
  })
  const value = affinityValue({ transport, seconds, most, endpoints })
  return new Map([[elementName(family, 'affinity', key), value], ...sets.map(name => [name, ''] as const)])
}

/** The rules of a chain of affinity; the value of its element. */
interface AffinityRules extends Pick<AffinityPlan, 'transport' | 'seconds'> {
  readonly endpoints: readonly Pick<Endpoint, 'ip' | 'port'>[]
  /** How many clients of an endpoint are remembered. */
  readonly most: number
}

/** Protocol, seconds, number of clients, endpoints. */
function affinityValue({ transport, seconds, most, endpoints }: AffinityRules): Bytes {
  return protocolPart(transport) + wordBytes(seconds) + wordBytes(most) + endpoints.map(addressPortBytes).join('')
}

/** Reads a value; undefined for values of chains that have other rules. */
function affinityRules(family: Family, value: Bytes): AffinityRules | undefined {
  const transport = transports.find(name => value.startsWith(protocolPart(name)))
  if (transport === undefined) return undefined
  const step = addressLengths[family] + 4
  const endpoints = Array.from({ length: (value.length - 12) / step }, (_, index) => {
    return addressPortOf(value.slice(12 + index * step, 12 + (index + 1) * step))
  })
  return { transport, seconds: wordAt(value, 4), most: wordAt(value, 8), endpoints }
}

/** `tcp 10800 65535 10.1.0.1 . 80, 10.1.0.2 . 80`, for people; rules of other kinds as they are. */
export function affinityText(family: Family, value: Bytes): string {
  const rules = affinityRules(family, value)
  if (rules === undefined) return value.slice(1)
  const { transport, seconds, most, endpoints } = rules
  return `${transport} ${seconds} ${most} ${endpoints.map(({ ip, port }) => `${ip} . ${port}`).join(', ')}`
}

/** Makes the chain of a key and its value. */
export function affinityChain(family: Family, key: Bytes, value: Bytes): Chain {
  const { transport, endpoints, seconds, most } = affinityRules(family, value)!
  const ways = endpoints.map(endpoint => {
    const set = objectName(family, 'clients', clientsKey(placeOf(family, key), endpoint, most))
    const remember: Rule = [
      { kind: 'remember', key: ['saddr'], set, seconds },
      ofTransport(transport),
      { kind: 'dnat', to: endpoint },
    ]
    return { set, remember }
  })
  return {
    name: objectName(family, 'affinity', key),
    rules: [
      ...ways.map(({ set, remember }) => [inSet(['saddr'], set), ...remember]),
      ...ways.map(({ remember }, slot): Rule => [{ kind: 'random zero', mod: endpoints.length - slot }, ...remember]),
      [ofTransport(transport), { kind: 'dnat to one of', endpoints }],
    ],
  }
}

/** Makes a value for a chain whose rules are none that we write: no Service has such a value. */
export function unknownRules(family: Family, rules: readonly Clauses[]): Bytes {
  return `?${rules.map(rule => printClauses(family, rule)).join('\n')}`
}

/** Reads the value of a chain that has these rules. */
export function readAffinity(family: Family, key: Bytes, rules: readonly Clauses[]): Bytes {
  const remembered = rules.flat().filter(clause => clause.kind === 'update')
  const [first] = remembered
  const sets = remembered.slice(0, remembered.length / 2).flatMap(({ set }) => parseObjectName(family, set) ?? [])
  const endpoints = sets.flatMap(({ set, key }) => {
    return set === 'clients' ? addressPortOf(restOf(family, key).slice(0, -4)) : []
  })
  const transport = transports.find(name => protocolPart(name) === key.slice(addressLengths[family]).slice(0, 4))
  if (first === undefined || transport === undefined || endpoints.length === 0) return unknownRules(family, rules)
  const seconds = (first.timeoutMs ?? 0) / 1000
  const value = affinityValue({ transport, seconds, most: mostClients(sets[0]!.key), endpoints })
  const expected = affinityChain(family, key, value).rules.map(rule => ruleClauses(family, rule))
  return isDeepStrictEqual(rules, expected) ? value : unknownRules(family, rules)
}

export function clientsSet(family: Family, key: Bytes): SetDefinition {
  return { name: objectName(family, 'clients', key), key: ['address'], dynamicSize: mostClients(key) }
}
