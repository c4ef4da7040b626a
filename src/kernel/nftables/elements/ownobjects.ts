/**
 * Chains and sets of single Service ports: their keys, and what nft calls them. A key begins with the address, protocol
 * and port of a frontend, as a key of `services` has them.
 */

import { type Family, type Transport, transports } from '../../family.ts'
import {
  addressBytes,
  addressLengths,
  addressOf,
  addressPortBytes,
  addressPortOf,
  type Bytes,
  be16,
  portPart,
  protocolPart,
  rangeText,
  wordAt,
  wordBytes,
} from '../bytes.ts'
import { protocolName } from '../clauses/words.ts'
import { type OwnObject, ownObjects, type SetName } from './elements.ts'

/** `10.0.0.1 . tcp . 80` */
export function frontendKey(ip: string, transport: Transport, port: number): Bytes {
  return addressBytes(ip) + protocolPart(transport) + portPart(port)
}

/** Tell several chains of affinity of one port apart, by their byte in the key. */
const scopes = ['', 'cluster', 'local'] as const
export type AffinityScope = (typeof scopes)[number]

export function affinityKey(frontend: Bytes, scope: AffinityScope): Bytes {
  return scope === '' ? frontend : frontend + String.fromCharCode(scopes.indexOf(scope))
}

/** @param most clients: a part of it, since a set cannot change its size */
export function clientsKey(
  frontend: Bytes,
  endpoint: { readonly ip: string; readonly port: number },
  most: number,
): Bytes {
  return frontend + addressPortBytes(endpoint) + wordBytes(most)
}

export function placeOf(family: Family, key: Bytes): Bytes {
  return key.slice(0, placeLength(family))
}

/** Returns the range of a key of `source-ranges`. */
export function restOf(family: Family, key: Bytes): Bytes {
  return key.slice(placeLength(family))
}

/** Returns the greatest number of clients in a key of `clients`. */
export function mostClients(key: Bytes): number {
  return wordAt(key, key.length - 4)
}

function placeLength(family: Family): number {
  return addressLengths[family] + 8
}

export function isOwnObject(set: SetName): set is OwnObject {
  return ownObjects.some(object => object === set)
}

/** Whether its keys are such. */
export function isOwnSet(set: SetName): set is OwnObject | 'source-ranges' {
  return set === 'source-ranges' || isOwnObject(set)
}

/** `10.0.0.1 . tcp . 80 . cluster` */
export function ownKeyText(family: Family, set: OwnObject | 'source-ranges', key: Bytes): string {
  const length = addressLengths[family]
  const frontend = [
    addressOf(key.slice(0, length)),
    protocolName(key.charCodeAt(length)),
    String(be16(key, length + 4)),
  ]
  return [...frontend, ...restWords(set, restOf(family, key))].join(' . ')
}

function restWords(set: OwnObject | 'source-ranges', rest: Bytes): readonly string[] {
  switch (set) {
    case 'affinity':
      return rest === '' ? [] : [scopes[rest.charCodeAt(0)]!]
    case 'clients': {
      const { ip, port } = addressPortOf(rest.slice(0, -4))
      return [ip, String(port), String(mostClients(rest))]
    }
    case 'source-ranges':
      return [rangeText(rest)]
    default:
      return []
  }
}

/** Names such a chain or set for nft, which takes no colon in a name: `affinity-fd00__1-tcp-80`. */
export function objectName(family: Family, kind: OwnObject, key: Bytes): string {
  return `${kind}-${ownKeyText(family, kind, key).replaceAll(' . ', '-').replaceAll(':', '_')}`
}

/** Reads such a name; undefined for the names of other chains and sets. */
export function parseObjectName(
  family: Family,
  name: string,
): { readonly set: OwnObject; readonly key: Bytes } | undefined {
  const [kind, ...parts] = name.split('-')
  const set = ownObjects.find(object => object === kind)
  if (set === undefined) return undefined
  try {
    const key = parseKey(
      set,
      parts.map(part => part.replaceAll('_', ':')),
    )
    return objectName(family, set, key) === name ? { set, key } : undefined
  } catch (error) {
    if (error instanceof TypeError) return undefined
    throw error
  }
}

/** Throws TypeError where an address is none; what else is wrong makes another name. */
function parseKey(set: OwnObject, [ip = '', protocol, port, ...rest]: readonly string[]): Bytes {
  const transport = transports.find(name => name === protocol) ?? 'tcp'
  const frontend = frontendKey(ip, transport, Number(port))
  const [first = '', second, third] = rest
  if (set === 'affinity') return affinityKey(frontend, scopes.find(scope => scope === first) ?? '')
  return set === 'clients' ? clientsKey(frontend, { ip: first, port: Number(second) }, Number(third)) : frontend
}
