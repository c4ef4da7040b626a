/** Port states and options for the tests of this folder. */

import type { IpFamily } from '../services/address.ts'
import type { Layer, PortState } from '../services/port.ts'
import { defaultSettings } from '../services/settings.ts'
import type { Family } from './elements.ts'
import type { KernelOptions } from './layer.ts'
import type { Operation } from './nftables/operations.ts'
import { fixedSet } from './nftables/sets.ts'
import { tableOf } from './ruleset.ts'

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

/** Of what comes from outside, by default. */
export const belowFromOutside: Layer = { wants: 'kernel', reason: '' }

/** `endpoints` as `10.1.0.1:8080`, optionally with `@node`, or `fd00::1 8080`. */
export function portState(
  id: string,
  vip: string,
  endpoints: readonly string[],
  more: Partial<
    Pick<PortState, 'onlyElsewhere' | 'port' | 'layer' | 'affinitySeconds' | 'answering' | 'external'>
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
    answering: more.port?.protocol === 'UDP' ? endpoints.map(parseEndpoint) : [],
    onlyElsewhere: false,
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
  const elements = keys.map(key => ({ key, value: '' }))
  return { do: 'add', table: tableOf(family), set: fixedSet(set), elements }
}
