/** Reads the parts of proxies' rules: conditions on where a packet comes from, and where it goes to. */

import { addressPortOf, type Bytes } from '../kernel/nftables/bytes.ts'
import type { Clause, Clauses, InlineSet, Key, SetOfRule } from '../kernel/nftables/clauses/clause.ts'
import { keyParts } from '../kernel/nftables/elements/values.ts'
import { type VerdictData, verdictCodes } from '../kernel/nftables/rules/expression.ts'
import type { NftSet } from '../kernel/nftables/snapshot.ts'
import type { Part } from '../kernel/nftables/wire/types.ts'
import { hostPort, type Protocol } from '../net/address.ts'
import { protocols } from './protocols.ts'

/** Returns the chain that a verdict goes to. */
export function gotoOf(verdict: VerdictData | undefined): string | undefined {
  return verdict?.code === verdictCodes.goto ? verdict.chain : undefined
}

/** Returns the chain that the verdict of a clause goes to. */
export function gotoIn(clause: Clause | undefined): string | undefined {
  return clause?.kind === 'verdict' ? gotoOf(clause.verdict) : undefined
}

export function isVerdict(clause: Clause | undefined, code: keyof typeof verdictCodes, chain?: string): boolean {
  return clause?.kind === 'verdict' && clause.verdict.code === verdictCodes[code] && clause.verdict.chain === chain
}

/** Whether the clause matches packets from an address of the node itself. */
export function isFromNode(clause: Clause | undefined): boolean {
  if (clause?.kind !== 'compare' || clause.field.name !== 'address type' || clause.field.of !== 'saddr') return false
  return clause.op === 'eq' && clause.value === localAddress
}

/** RTN_LOCAL. */
const localAddress = 2

/** Returns the set whose addresses the clause matches, or matches not. */
export function setOfAddress(clause: Clause | undefined, of: 'saddr' | 'daddr', isNot = false): SetOfRule | undefined {
  return clause?.kind === 'lookup' && clause.isNot === isNot && isKey(clause.key, of) ? clause.set : undefined
}

export function isKey(key: Key, ...names: readonly Key[number]['name'][]): boolean {
  return key.length === names.length && key.every(({ name }, index) => name === names[index])
}

export function isNewConnection(clause: Clause | undefined): boolean {
  if (clause?.kind !== 'compare' || clause.field.name !== 'ct state') return false
  return clause.mask === undefined
    ? clause.op === 'eq' && clause.value === newConnections
    : clause.mask === newConnections && clause.op === 'neq' && clause.value === 0
}

const newConnections = 8

/**
 * Returns the endpoints that a rule translates to, `address:port`, of connections of this protocol; undefined where it
 * is another rule.
 */
export function endpointsOf(rule: Clauses, protocol: Protocol, oddities: string[]): readonly string[] | undefined {
  const [transport, action, ...more] = rule
  const isOurs =
    transport?.kind === 'compare' &&
    transport.field.name === 'meta l4proto' &&
    transport.op === 'eq' &&
    protocols[Number(transport.value)] === protocol
  if (!isOurs || more.length > 0 || action?.kind !== 'nat' || action.verb !== 'dnat' || !action.to) return undefined
  const { to } = action
  if ('ip' in to) return typeof to.port === 'number' ? [hostPort(to.ip, to.port)] : undefined
  const isToPorts = typeof to.map !== 'string' && to.map.types.data !== 'verdict' && to.map.types.data?.length === 2
  return isToPorts ? slotsOf(to.key, to.map, oddities)?.map(endpointText) : undefined
}

/** Returns the values among which the kernel chooses at random; undefined where it does not. */
export function slotsOf(key: Key, map: SetOfRule, oddities: string[]): readonly Bytes[] | undefined {
  const [number] = key
  if (number?.name !== 'random' || number.offset !== 0 || key.length > 1 || typeof map === 'string') return undefined
  const { mod } = number
  const { types, elements } = map
  const isComplete = elements.length === mod && elements.every(([slot], index) => keyParts(types, slot)[0] === index)
  if (!isComplete) oddities.push(`${mod} slots, of which ${elements.length} are filled`)
  return elements.map(([, value]) => value)
}

/** @param value of a map to address and port */
export function endpointText(value: Bytes): string {
  const { ip, port } = addressPortOf(value)
  return hostPort(ip, port)
}

type AnySet = NftSet | InlineSet

/** Returns the keys of a set, part by part. */
export function keysOf(set: AnySet | undefined): readonly (readonly Part[])[] {
  const { types, elements = [] } = set ?? {}
  return types === undefined ? [] : [...elements].map(([key]) => keyParts(types, key))
}

/** Returns the addresses and ranges of a set that holds such. */
export function rangesOf(set: AnySet | undefined): readonly string[] {
  return keysOf(set).map(([range]) => String(range))
}

/** Returns the ranges that a clause matches, or matches not; undefined where it says something else. */
export function rangesAskedFor(clause: Clause | undefined, of: 'saddr' | 'daddr', isNot: boolean) {
  const set = setOfAddress(clause, of, isNot)
  if (set !== undefined) return typeof set === 'string' ? undefined : rangesOf(set)
  if (clause?.kind !== 'compare' || clause.field.name !== of || clause.field.isMasked) return undefined
  return clause.op === (isNot ? 'neq' : 'eq') ? [String(clause.value)] : undefined
}
