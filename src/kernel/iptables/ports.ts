/** Plans what one Service port needs in iptables and ipset. Pure. */

import { createHash } from 'node:crypto'
import { hostPort } from '../../net/address.ts'
import { familyOfCidr, withoutNested } from '../../net/cidr.ts'
import { type Endpoint, isForEnvoy, type PortState } from '../../plan/ports/port.ts'
import { type Family, familyNames, transportOf } from '../family.ts'
import type { Redirected } from '../nftables/elements/plan.ts'
import { type NodeConfig, ofFamily } from '../nodeconfig.ts'
import type { NodePlanOptions, PlanOptions } from '../options.ts'
import { everywhere, portPrefix, type SetName, servicesChain, systemSetName } from './chains.ts'

export interface PortRules {
  readonly family: Family
  /** Undefined without endpoints. */
  readonly chain: PortChain | undefined
  /** Members of sets, as `lightpath-envoy4 10.96.0.1,tcp:80`. */
  readonly members: readonly string[]
}

/** Its name is made from all that is in it: a chain never changes, a port gets another one. */
export interface PortChain {
  /** `LP-` and 16 digits. */
  readonly name: string
  /** The rule of LIGHTPATH-SERVICES that leads to it. */
  readonly dispatch: string
  readonly rules: readonly string[]
}

/**
 * Plans a port: one with endpoints is translated; one without is refused at once, or dropped where endpoints exist that
 * this node may not use. Only a TCP port that is translated can be in the overlay.
 */
export function planPort(
  state: PortState,
  redirected: Redirected,
  { nodeName, ownsClusterIPs, tracksUse = false }: Pick<PlanOptions, 'nodeName' | 'ownsClusterIPs' | 'tracksUse'>,
): PortRules {
  const { endpoints, noLocalEndpoints, port, vip } = state
  const family = familyNames[state.family]
  const transport = transportOf[port.protocol]
  const place = `${vip},${transport}:${port.port}`
  const member = (set: SetName, key: string) => `${systemSetName(family, set)} ${key}`
  const known = ownsClusterIPs ? [member('vips', vip)] : []
  if (endpoints.length === 0) {
    return { family, chain: undefined, members: [...known, member(noLocalEndpoints ? 'drop' : 'refuse', place)] }
  }
  const own = endpoints.filter(endpoint => endpoint.nodeName === undefined || endpoint.nodeName === nodeName)
  const hairpin = own.map(endpoint => member('hairpin', `${endpoint.ip},${transport}:${endpoint.port},${endpoint.ip}`))
  const isRedirected = redirected.keys.length > 0 && port.protocol === 'TCP'
  const envoy = isRedirected ? [member(redirected.isShared ? 'envoy' : 'own', place)] : []
  const isCandidate = tracksUse && port.protocol === 'TCP' && isForEnvoy(state.layer)
  const candidates = isCandidate ? [member('candidates', place)] : []
  return { family, chain: portChain(state), members: [...known, ...hairpin, ...envoy, ...candidates] }
}

/** Plans the members of the sets that belong to no Service port. */
export function planNode(
  { policies, serviceRanges }: Omit<NodeConfig, 'node'>,
  { families, ownsClusterIPs }: Pick<NodePlanOptions, 'families' | 'ownsClusterIPs'>,
): PortRules {
  const ranges = ownsClusterIPs ? withoutNested(serviceRanges) : []
  const members = families.flatMap(family => {
    const of = (set: SetName) => (key: string) => `${systemSetName(familyNames[family], set)} ${key}`
    return [
      ...ofFamily(policies.clients, family).map(of('clients')),
      ...ofFamily(policies.endpoints, family).map(of('endpoints')),
      ...(policies.known ? everywhere[familyNames[family]] : []).map(of('strict')),
      ...ofFamily(policies.known ?? [], family).map(of('known')),
      ...ranges.filter(range => familyOfCidr(range) === family).map(range => of('ranges')(rangeText(range))),
    ]
  })
  return { family: 'ip', chain: undefined, members: [...new Set(members)] }
}

/** Returns a range as ipset lists it: a range of one address is that address. */
function rangeText(cidr: string): string {
  return cidr.replace(/^([\d.]+)\/32$|^(.*)\/128$/, '$1$2')
}

function portChain(state: PortState): PortChain {
  const { vip, family, port } = state
  const transport = transportOf[port.protocol]
  const destination = `-d ${vip}/${family === 'IPv4' ? 32 : 128} -p ${transport} -m ${transport} --dport ${port.port}`
  const rules = [...stickyRules(state), ...randomRules(state)].map(rule => `-p ${transport} ${rule}`)
  const name = `${portPrefix}${hashOf([destination, ...rules].join('\n'))}`
  return { name, dispatch: `${destination} -j ${name}`, rules }
}

/** Session affinity: a client that the kernel has seen go to an endpoint goes there again, and is remembered anew. */
function stickyRules(state: PortState): readonly string[] {
  const { endpoints, affinitySeconds } = state
  if (affinitySeconds === undefined) return []
  return endpoints.map(endpoint => {
    const known = `${recent(state, endpoint)} --update --seconds ${affinitySeconds} --reap`
    return `${known} -j DNAT --to-destination ${hostPort(endpoint.ip, endpoint.port)}`
  })
}

function randomRules(state: PortState): readonly string[] {
  const { endpoints, affinitySeconds } = state
  return endpoints.map((endpoint, index) => {
    const left = endpoints.length - index
    const conditions = [
      ...(left > 1 ? [`-m statistic --mode random --probability ${(1 / left).toFixed(10)}`] : []),
      ...(affinitySeconds === undefined ? [] : [`${recent(state, endpoint)} --set`]),
      `-j DNAT --to-destination ${hostPort(endpoint.ip, endpoint.port)}`,
    ]
    return conditions.join(' ')
  })
}

/** Names the list of an endpoint's clients, which stays when other endpoints of the port come and go. */
function recent({ id }: PortState, endpoint: Endpoint): string {
  return `-m recent --name ${portPrefix}${hashOf(`${id} ${hostPort(endpoint.ip, endpoint.port)}`)} --rsource`
}

function hashOf(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 16).toUpperCase()
}

/** Nothing leads to it where `dispatch` is undefined. */
export interface OldChain {
  readonly name: string
  readonly dispatch: string | undefined
}

/** Renders the statements of a `*nat` part that add new chains of ports and remove old ones. */
export function renderChains(added: readonly PortChain[], removed: readonly OldChain[]): string {
  const lines = [
    ...added.map(({ name }) => `:${name} - [0:0]`),
    ...added.flatMap(({ name, rules }) => rules.map(rule => `-A ${name} ${rule}`)),
    // A connection finds the new one or the old one, never none.
    ...added.map(({ dispatch }) => `-A ${servicesChain} ${dispatch}`),
    ...removed.flatMap(({ dispatch }) => (dispatch === undefined ? [] : [`-D ${servicesChain} ${dispatch}`])),
    ...removed.flatMap(({ name }) => [`-F ${name}`, `-X ${name}`]),
  ]
  return lines.length === 0 ? '' : `*nat\n${lines.join('\n')}\nCOMMIT\n`
}
