/** Port states and options for the tests of this folder. */

import type { IpFamily } from '../../net/address.ts'
import type { Layer, PortState } from '../../plan/ports/port.ts'
import { defaultSettings } from '../../services/settings/definitions.ts'
import type { Family, Transport } from '../family.ts'
import {
  addressBytes,
  type Bytes,
  etherTypes,
  portPart,
  protocolPart,
  rangeBytes,
  verdictBytes,
  wordBytes,
} from '../nftables/bytes.ts'
import { type ElementName, type Elements, elementName, type SetName } from '../nftables/elements/elements.ts'
import { elementText, elementValueText } from '../nftables/elements/text.ts'
import type { Operation, SetElement } from '../nftables/operations.ts'
import { verdictCodes } from '../nftables/rules/expression.ts'
import { tableOf } from '../nftables/rules/ruleset.ts'
import { fixedSet, type KeyType, type SetDefinition } from '../nftables/sets.ts'
import type { KernelOptions } from '../options.ts'

export const testOptions: KernelOptions = {
  families: ['IPv4', 'IPv6'],
  nodeName: 'node1',
  steeringMark: 0x8000,
  envoyMark: 0x1000,
  targetPort: 1666,
  routeTable: 1666,
  rulePriority: 5,
  abandonAfter: 3600e3,
  masqueradeMark: 0x4000,
  masqueradeAll: false,
  detectLocalMode: 'ClusterCIDR',
  clusterCidr: [],
  podBridgeInterface: undefined,
  podInterfaceNamePrefix: undefined,
  nodeportAddresses: ['primary'],
  ownsClusterIPs: true,
  coalesceMs: 0,
}

/** The layer of external addresses, by default. */
export const belowFromOutside: Layer = { wants: 'kernel', reason: '' }

/** `endpoints` as `10.1.0.1:8080`, optionally with `@node`, or `fd00::1 8080`. */
export function portState(
  id: string,
  vip: string,
  endpoints: readonly string[],
  more: Partial<
    Pick<
      PortState,
      'noLocalEndpoints' | 'port' | 'layer' | 'affinitySeconds' | 'servingEndpoints' | 'leftOut' | 'external'
    >
  > = {},
): PortState {
  const family: IpFamily = vip.includes(':') ? 'IPv6' : 'IPv4'
  const [namespace, name] = id.split('/') as [string, string]
  return {
    id,
    namespace,
    name,
    port: { name: 'http', protocol: 'TCP', port: 80 },
    family,
    vip,
    settings: defaultSettings,
    layer: { wants: 'kernel', reason: '' },
    endpoints: endpoints.map(parseEndpoint),
    servingEndpoints: more.port?.protocol === 'UDP' ? endpoints.map(parseEndpoint) : [],
    noLocalEndpoints: false,
    affinitySeconds: undefined,
    external: undefined,
    ...more,
  }
}

function parseEndpoint(text: string) {
  const [, ip, port, node] = /^(.*)[: ](\d+)(?:@(\S+))?$/.exec(text)!
  return { ip: ip!, port: Number(port), ...(node === undefined ? {} : { nodeName: node }) }
}

/** Puts keys into one of our sets, as somebody else may. */
export function adding(family: Family, set: string, ...keys: readonly string[]): Operation {
  const elements = keys.map(key => element(family, set, key))
  return { do: 'add', table: tableOf(family), set: fixedSet(set), elements }
}

/** An element of one of our sets by its words, such as `10.0.0.1 . tcp . 80` and `goto refuse`. */
export function element(family: Family, set: string, key: string, value = ''): SetElement {
  const { isInterval = false, data, ...types } = fixedSet(set)
  return { key: isInterval ? rangeBytes(key) : bytesOf(family, types.key, key), value: valueBytes(family, data, value) }
}

export function named(family: Family, set: SetName, key: string): ElementName {
  return elementName(family, set, element(family, set, key).key)
}

/** Elements as people read them. */
export function inWords(elements: Elements): ReadonlyMap<string, string> {
  return new Map([...elements].map(([name, value]) => [elementText(name), elementValueText(name, value)]))
}

function valueBytes(family: Family, data: SetDefinition['data'], value: string): Bytes {
  if (value === '' || data === undefined) return ''
  if (data !== 'verdict') return bytesOf(family, data, value)
  const [verb, chain] = value.split(' ') as [keyof typeof verdictCodes, string?]
  return verdictBytes({ code: verdictCodes[verb], ...(chain !== undefined && { chain }) })
}

function bytesOf(family: Family, types: readonly KeyType[], text: string): Bytes {
  const words = text.split(' . ')
  const parts = types.map((type, index) => {
    const word = words[index]!
    if (type === 'address') return addressBytes(word)
    if (type === 'inet_proto') return protocolPart(word as Transport)
    if (type === 'ether_type') return etherTypes[family]
    return type === 'number' ? wordBytes(Number(word)) : portPart(Number(word))
  })
  return parts.join('')
}
