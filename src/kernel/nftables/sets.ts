/** The sets and maps of our tables, as they are declared. */

import { type Family, type Transport, transports } from '../family.ts'
import {
  calledSet,
  candidatesSet,
  heartbeatSet,
  overlaySets,
  overlaySwitch,
  policySets,
  rangeSets,
  type SetName,
} from './elements/elements.ts'

/** `address`: of the table's family. `number`: what numgen returns. */
export type KeyType = 'address' | 'inet_proto' | 'inet_service' | 'ether_type' | 'number'

export interface SetDefinition {
  readonly name: string
  readonly key: readonly KeyType[]
  /** What a map leads to; a set has none. */
  readonly data?: 'verdict' | readonly KeyType[]
  /** The ports in key and data are of this protocol, which the declaration says. */
  readonly transport?: Transport
  /** Holds ranges. */
  readonly isInterval?: boolean
  /**
   * Filled by packets, with this many elements at the most, each for a time. The kernel makes room for all of them at
   * once, unless it is `growingSize`.
   */
  readonly dynamicSize?: number
  /** Its elements may end by themselves. */
  readonly isTimed?: boolean
}

/**
 * What the kernel gives a set that packets fill and that is declared without a size (nft_dynset.c): it grows with what
 * is in it.
 */
export const growingSize = 65_535

const portOfVip = ['address', 'inet_proto', 'inet_service'] as const

/** More than a node is ever expected to call in a day; the kernel makes room for all of them at once, 1 MB. */
const mostCalled = 65_536

export const fixedSets: readonly SetDefinition[] = [
  { name: 'services', key: portOfVip, data: 'verdict' },
  { name: 'no-endpoints', key: portOfVip, data: 'verdict' },
  { name: 'external', key: portOfVip, data: 'verdict' },
  { name: 'local-services', key: portOfVip, data: 'verdict' },
  { name: 'source-checks', key: portOfVip, data: 'verdict' },
  ...rangeSets.map(name => ({ name, key: ['address'], isInterval: true }) as const),
  ...transports.map(endpointsMap),
  { name: 'cluster-ips', key: ['address'] },
  { name: 'service-ranges', key: ['address'], isInterval: true },
  { name: 'hairpin', key: ['address', 'address'] },
  ...overlaySets.map(name => ({ name, key: ['address', 'inet_service'] }) as const),
  { name: candidatesSet, key: ['address', 'inet_service'] },
  { name: calledSet, key: ['address', 'inet_service'], dynamicSize: mostCalled },
  ...policySets.map(name => ({ name, key: ['address'] }) as const),
  { name: overlaySwitch, key: ['ether_type'] },
  { name: heartbeatSet, key: ['ether_type'], isTimed: true },
]

/**
 * Declares a map for each transport protocol, because nft 1.0.6 adds no rule for a map of `th dport` that exists
 * already.
 */
function endpointsMap(transport: Transport): SetDefinition {
  const name = `endpoints-${transport}` satisfies SetName
  return { name, key: ['address', 'inet_service', 'number'], data: ['address', 'inet_service'], transport }
}

const definitions = new Map(fixedSets.map(definition => [definition.name, definition]))

/** Finds a set of the fixed part. */
export function fixedSet(name: string): SetDefinition {
  return definitions.get(name)!
}

const addressTypes = { ip: 'ipv4_addr', ip6: 'ipv6_addr' } as const satisfies Record<Family, string>

/** Prints the lines of its declaration. */
export function declaration(family: Family, definition: SetDefinition): readonly string[] {
  const { key, data, dynamicSize, isInterval, isTimed, transport } = definition
  const types = (some: readonly KeyType[]) => some.map(type => typeText(family, type, transport)).join(' . ')
  const value = data === undefined ? '' : ` : ${data === 'verdict' ? data : types(data)}`
  return [
    `${transport === undefined ? 'type' : 'typeof'} ${types(key)}${value}`,
    ...(dynamicSize === undefined ? [] : [`size ${dynamicSize}`, 'flags dynamic,timeout']),
    ...(isInterval ? ['flags interval'] : []),
    ...(isTimed ? ['flags timeout'] : []),
  ]
}

/** `type` cannot say what numgen returns, `typeof` can. */
function typeText(family: Family, type: KeyType, transport: Transport | undefined): string {
  if (transport === undefined) return type === 'address' ? addressTypes[family] : type
  if (type === 'address') return `${family} daddr`
  return type === 'inet_service' ? `${transport} dport` : 'numgen random mod 2'
}
