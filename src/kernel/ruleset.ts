/**
 * The fixed part of our tables: sets, maps and chains. A Service is only elements in these (plan.ts), so the number of
 * chains does not grow with the number of Services, apart from those with session affinity (affinity.ts).
 *
 * The way of a connection to a VIP (docs/architecture.md draws it):
 *
 *     prerouting   steer: in the overlay → Envoy, by TPROXY     refuse-forwarded: no endpoints → reject or drop; and what
 *                  source ranges do not let in, also of what was steered
 *                  translate: not steered → services → endpoints-tcp-N, or affinity-… → DNAT
 *     output       refuse-local, translate-local: the same for the node's own processes, by redirect in place of TPROXY
 *     input        guard: Envoy's port is for what was steered or translated there, nothing else; and what a redirect
 *                  translated there reaches a transparent socket alone
 *     postrouting  hairpin: an endpoint that is its own client is masqueraded
 *
 * `tproxy` matches only while a transparent socket listens on the target port: without one, the packet goes on to DNAT.
 * That is how a dead Envoy costs no new connection. Only new connections are looked up; a connection of Envoy's carries
 * the steering mark in its conntrack entry and stays with Envoy whatever happens to the overlay.
 *
 * `redirect` asks for no socket, so `guard` does: only CAP_NET_ADMIN (or CAP_NET_RAW) makes a socket transparent (ip(7)), so no
 * unprivileged process that takes the port of a dead Envoy gets connections of the node's processes.
 */

import { createHash } from 'node:crypto'
import type { ClientAddress } from '../services/clientaddress.ts'
import { parseObjectName } from './affinity.ts'
import { clientAddressChains, restoreChain } from './clientaddress.ts'
import {
  type Family,
  familyNames,
  type OverlaySet,
  overlaySets,
  policySets,
  rangeSets,
  type SetName,
  type Transport,
  transports,
} from './elements.ts'
import {
  anyAddress,
  type Chooser,
  chooserName,
  localPolicy,
  localSlots,
  markMasquerade,
  parseChooserName,
} from './external.ts'
import { type MasqueradeOptions, markRule, masqueradeChain, masqueradingVips, notOfPods, ofPods } from './masquerade.ts'

export const tableName = 'lightpath'

/** Takes the whole node down to the kernel layer while it holds the table's own protocol. Only people change it. */
export const overlaySwitch = 'overlay_off'

export interface RulesetOptions extends MasqueradeOptions {
  /** The packet and conntrack mark bit of connections that are steered to Envoy. One bit; other bits are others'. */
  readonly steeringMark: number
  /** The packet mark bit that Envoy sets on its own connections. */
  readonly envoyMark: number
  /** Where Envoy's redirect listener listens. */
  readonly targetPort: number
  /** Default: forwarded-for. */
  readonly clientAddress?: ClientAddress
}

export interface Chain {
  readonly name: string
  /** `type … hook … priority …` of a base chain. */
  readonly hook?: string
  readonly rules: readonly string[]
}

interface NamedSet {
  readonly kind: 'set' | 'map'
  readonly name: SetName | typeof overlaySwitch
  readonly type: string
}

const addressType = { ip: 'ipv4_addr', ip6: 'ipv6_addr' } as const

function namedSets(family: Family): readonly NamedSet[] {
  const address = addressType[family]
  const portOfVip = `${address} . inet_proto . inet_service`
  return [
    { kind: 'map', name: 'services', type: `type ${portOfVip} : verdict` },
    { kind: 'map', name: 'no-endpoints', type: `type ${portOfVip} : verdict` },
    { kind: 'map', name: 'external', type: `type ${portOfVip} : verdict` },
    { kind: 'map', name: 'local-services', type: `type ${portOfVip} : verdict` },
    { kind: 'set', name: 'restricted', type: `type ${portOfVip}` },
    { kind: 'set', name: 'allowed-sources', type: `type ${portOfVip} . ${address}\n    flags interval` },
    ...rangeSets.map(name => ({ kind: 'set', name, type: `type ${address}\n    flags interval` }) as const),
    ...transports.map(transport => endpointsMap(family, transport)),
    { kind: 'set', name: 'cluster-ips', type: `type ${address}` },
    { kind: 'set', name: 'service-ranges', type: `type ${address}\n    flags interval` },
    { kind: 'set', name: 'hairpin', type: `type ${address} . ${address}` },
    ...overlaySets.map(name => ({ kind: 'set', name, type: `type ${address} . inet_service` }) as const),
    ...policySets.map(name => ({ kind: 'set', name, type: `type ${address}` }) as const),
    { kind: 'set', name: overlaySwitch, type: 'type ether_type' },
  ]
}

/**
 * `type` cannot say what numgen returns, `typeof` can. A map for each transport protocol, because nft 1.0.6 adds no rule
 * for a map of `th dport` that exists already.
 */
function endpointsMap(family: Family, transport: Transport): NamedSet {
  const key = `${family} daddr . ${transport} dport . numgen random mod 2`
  return { kind: 'map', name: `endpoints-${transport}`, type: `typeof ${key} : ${family} daddr . ${transport} dport` }
}

/** `0x8000` → `mark & 0x8000 == 0x8000` of a packet or conntrack entry. */
export function hasMark(what: 'meta' | 'ct', bit: number): string {
  const hex = `0x${bit.toString(16)}`
  return `${what} mark & ${hex} == ${hex}`
}

function set(what: 'meta' | 'ct', bit: number): string {
  return `${what} mark set ${what} mark | 0x${bit.toString(16)}`
}

/** To Envoy, and with it all that follows. `then` comes once a socket was found. */
export function steerTo(
  { targetPort, steeringMark }: Pick<RulesetOptions, 'targetPort' | 'steeringMark'>,
  then = '',
): string {
  const statements = [`tproxy to :${targetPort}`, then, set('meta', steeringMark), set('ct', steeringMark), 'accept']
  return statements.filter(statement => statement !== '').join(' ')
}

/**
 * On a bridge these hooks run before the packet is delivered (net.bridge.bridge-nf-call-iptables, which is on wherever
 * Kubernetes has such a network), and the socket that TPROXY found is lost on the way. That it was found says that Envoy
 * listens, so a redirect to its port does the same there.
 */
const fromBridge = 'meta iifkind "bridge"'

/** What ends a connection passes, so that the other end hears of it. */
const notEnding = 'tcp flags & (fin | rst) == 0x0'

const loopback = { ip: '127.0.0.0/8', ip6: '::1' } as const

const refuseNew = 'ct state new goto refuse-new'

/** The first packet of a client, also of one that conntrack does not see, and no packet of an open connection that it forgot. */
const isSyn = 'tcp flags & (syn | ack) == syn'

/** Match what is for a place outside that goes to Envoy, by address and by node port, of each externalTrafficPolicy. */
function placesInOverlay(family: Family, isNodePortAddress: string) {
  const places = (set: OverlaySet) => [
    `${family} daddr . tcp dport @${set}`,
    `${family} daddr & ${anyAddress[family]} . tcp dport @${set} ${isNodePortAddress}`,
  ]
  return { external: places('envoy-external'), local: places('envoy-local') }
}

/** What externalTrafficPolicy Local does with a new connection, by where it comes from. */
function localPolicyRules(family: Family, key: string, options: RulesetOptions): readonly string[] {
  return [
    `${ofPods(family, options)} ${key} vmap @services`,
    `fib saddr type local ${markRule(options)} ${key} vmap @services`,
    `${key} vmap @local-services`,
  ]
}

/**
 * Chains that elements jump to, before those that use the maps. kube-proxy's nftables mode drops what it does not know
 * in the Service range at priority filter, so refusing has to come before that.
 */
function fixedChains(family: Family, options: RulesetOptions): readonly Chain[] {
  const { steeringMark, envoyMark, targetPort } = options
  const destination = `${family} daddr . meta l4proto . th dport`
  const nodePort = `${family} daddr & ${anyAddress[family]} . meta l4proto . th dport`
  const isNodePortAddress = `${family} daddr @node-port-addresses ${family} daddr != ${loopback[family]} fib daddr type local`
  const inOverlay = `${family} daddr . tcp dport @envoy`
  // While a policy restricts egress, it may select a pod that the agent does not know yet.
  const maybeRestricted = `${family} saddr & ${anyAddress[family]} @only-known-clients ${family} saddr != @known-clients ${family} saddr != @outside`
  const { external, local } = placesInOverlay(family, isNodePortAddress)
  const steered = hasMark('meta', steeringMark)
  const noSteering = `meta mark & 0x${steeringMark.toString(16)} != 0x${steeringMark.toString(16)}`
  // Envoy would show an outsider's address to endpoints, whose answers would not come back through this node.
  const keptBelow = options.clientAddress === 'preserve' ? [`${inOverlay} ${notOfPods(family, options)} accept`] : []
  return [
    // ICMP errors are limited to about one a second and client; resets are not.
    { name: 'refuse', rules: ['meta l4proto tcp reject with tcp reset', 'reject'] },
    {
      name: 'refuse-new',
      rules: [
        `${destination} @restricted ${destination} . ${family} saddr != @allowed-sources drop`,
        `${destination} vmap @no-endpoints`,
        `${isNodePortAddress} ${nodePort} vmap @no-endpoints`,
      ],
    },
    // What is still addressed to a cluster IP after translation leads to no Service port.
    {
      name: 'refuse-unknown',
      rules: [`${family} daddr @cluster-ips goto refuse`, `${family} daddr @service-ranges drop`],
    },
    { name: markMasquerade, rules: [markRule(options)] },
    { name: localPolicy.address, rules: localPolicyRules(family, destination, options) },
    { name: localPolicy['node-port'], rules: localPolicyRules(family, nodePort, options) },
    { name: 'node-port', rules: [`${nodePort} vmap @external`, `${nodePort} vmap @services`] },
    {
      name: 'service',
      rules: [
        `${destination} vmap @external`,
        ...masqueradingVips(family, options, `${destination} vmap @services`),
        `${isNodePortAddress} goto node-port`,
      ],
    },
    {
      name: 'steer-new',
      rules: [
        `meta protocol @${overlaySwitch} accept`,
        `${family} saddr @kernel-clients accept`,
        `${maybeRestricted} accept`,
        ...keptBelow,
        `${inOverlay} ${steerTo(options)}`,
        ...external.map(place => `${place} ${steerTo(options)}`),
        ...local.map(place => `${place} goto steer-local`),
      ],
    },
    // Pods, whom the policy Local does not concern, the kernel layer leads to all endpoints; the node's own do not pass here.
    {
      name: 'steer-local',
      rules: [`${ofPods(family, options)} accept`, `meta l4proto tcp ${steerTo(options)}`],
    },
    // A client that is to stay below from now on loses what it has in Envoy.
    {
      name: 'steer-open',
      rules: [
        `${family} saddr @kernel-clients ${notEnding} goto refuse`,
        `${maybeRestricted} ${notEnding} goto refuse`,
        set('meta', steeringMark),
      ],
    },
    {
      name: 'steer',
      hook: 'type filter hook prerouting priority mangle',
      // Every packet passes here: those of open connections that are none of Envoy's see as little as can be.
      rules: ['ct state new goto steer-new', `${hasMark('ct', steeringMark)} ct direction original goto steer-open`],
    },
    { name: 'refuse-forwarded', hook: 'type filter hook prerouting priority -149', rules: [refuseNew] },
    {
      name: 'translate',
      hook: 'type nat hook prerouting priority dstnat',
      rules: [
        `${fromBridge} ${steered} meta l4proto tcp redirect to :${targetPort}`,
        `${steered} accept`,
        'goto service',
      ],
    },
    {
      name: 'refuse-unknown-forwarded',
      hook: 'type filter hook forward priority filter',
      rules: [`ct state new goto refuse-unknown`],
    },
    {
      name: 'refuse-unknown-local',
      hook: 'type filter hook output priority filter',
      rules: ['ct state new goto refuse-unknown'],
    },
    // What Envoy has open to an endpoint that is to be reached by the kernel layer alone ends with its next packet.
    {
      name: 'refuse-envoy',
      hook: 'type filter hook output priority filter',
      rules: [`${hasMark('meta', envoyMark)} ${family} daddr @kernel-endpoints ${notEnding} goto refuse`],
    },
    { name: 'refuse-local', hook: 'type filter hook output priority -149', rules: [refuseNew] },
    {
      name: 'translate-local',
      hook: 'type nat hook output priority -100',
      rules: [
        `${hasMark('meta', envoyMark)} accept`,
        `meta protocol @${overlaySwitch} goto service`,
        ...[inOverlay, ...external].map(place => `${place} redirect to :${targetPort}`),
        'goto service',
      ],
    },
    {
      name: 'guard',
      hook: 'type filter hook input priority filter',
      // Of who connects to it; answers to a connection that the node itself has from a port of that number pass.
      rules: [
        `tcp dport ${targetPort} ${isSyn} ${noSteering} ct status & dnat != dnat reject with tcp reset`,
        `tcp dport ${targetPort} ct state new ct status dnat socket transparent 0 reject with tcp reset`,
      ],
    },
    {
      name: 'hairpin',
      hook: 'type nat hook postrouting priority srcnat',
      rules: [`ct status dnat ${family} saddr . ${family} daddr @hairpin masquerade fully-random`],
    },
    masqueradeChain(options),
  ]
}

/** Chooses one of `count` endpoints at random; shared by all Service ports with so many. */
function endpointsChain(family: Family, chooser: Chooser): Chain {
  const { transport, count, kind, isLocal } = chooser
  const address = kind === 'node-port' ? `${family} daddr & ${anyAddress[family]}` : `${family} daddr`
  const random = `numgen random mod ${count}${isLocal ? ` offset ${localSlots}` : ''}`
  const map = `endpoints-${transport}` satisfies SetName
  const rule = `dnat ${family} to ${address} . ${transport} dport . ${random} map @${map}`
  return { name: chooserName(chooser), rules: [rule] }
}

/** The chain that an element's value jumps to has to exist: its text for `goto endpoints-tcp-7`, undefined for others. */
export function chainFor(family: Family, value: string): { readonly name: string; readonly text: string } | undefined {
  const chooser = value.startsWith('goto ') ? parseChooserName(value.slice('goto '.length)) : undefined
  if (!chooser) return undefined
  const chain = endpointsChain(family, chooser)
  return { name: chain.name, text: block(family, renderChain(chain)) }
}

/** The fixed part as nft text. Ends with an empty chain whose name tells this part from that of other versions. */
export function renderFixedPart(family: Family, options: RulesetOptions): string {
  const body = [
    ...namedSets(family).map(({ kind, name, type }) => `  ${kind} ${name} {\n    ${type}\n  }\n`),
    ...[...fixedChains(family, options), ...clientAddressChains(family, options)].map(renderChain),
  ].join('')
  const sample = renderChain(endpointsChain(family, { transport: 'tcp', count: 1 }))
  return block(family, body + renderChain({ name: markerOf(body + sample), rules: [] }))
}

/** How many lines each chain of the fixed part has when it is whole, by name. */
export function fixedRules(family: Family, options: RulesetOptions): ReadonlyMap<string, number> {
  const chains = [...fixedChains(family, options), ...clientAddressChains(family, options)]
  return new Map(chains.map(({ name, hook, rules }) => [name, rules.length + (hook === undefined ? 0 : 1)]))
}

/** Whether the client's address is preserved, by a table that has these chains. */
export function hasClientAddress(chains: readonly string[]): boolean {
  return chains.includes(restoreChain)
}

/** Whether this is the name of a chain that chooses among so many endpoints. */
export function isChooser(name: string): boolean {
  return parseChooserName(name) !== undefined
}

/** The name of the chain that `renderFixedPart` ends with. */
export function markerFor(family: Family, options: RulesetOptions): string {
  return /chain (ruleset-\w+)/.exec(renderFixedPart(family, options))![1]!
}

function markerOf(body: string): string {
  return `ruleset-${createHash('sha256').update(body).digest('hex').slice(0, 12)}`
}

/** Chains of the fixed part that elements jump to. */
const namedByElements: readonly string[] = ['refuse', markMasquerade, ...Object.values(localPolicy)]

/**
 * Statements that take the chains of another version of us out of the way of `renderFixedPart`, in one transaction with
 * it. Sets and maps stay, and so do the chains that their elements jump to. Chains of single Service ports are left
 * alone: they are compared as elements are.
 */
export function renderReplacement(family: Family, chains: Iterable<string>, options: RulesetOptions): string {
  const table = `${family} ${tableName}`
  const names = [...chains].filter(name => parseObjectName(name) === undefined)
  const kept = (name: string) => namedByElements.includes(name) || isChooser(name)
  return [
    ...names.map(name => `flush chain ${table} ${name}\n`),
    ...names.filter(name => !kept(name)).map(name => `delete chain ${table} ${name}\n`),
    renderFixedPart(family, options),
    ...names.flatMap(name => chainFor(family, `goto ${name}`)?.text ?? []),
  ].join('')
}

export function familiesOf(families: readonly ('IPv4' | 'IPv6')[]): readonly Family[] {
  return families.map(family => familyNames[family])
}

function renderChain({ name, hook, rules }: Chain): string {
  const lines = [...(hook === undefined ? [] : [`${hook}; policy accept;`]), ...rules]
  return `  chain ${name} {\n${lines.map(line => `    ${line}\n`).join('')}  }\n`
}

export function block(family: Family, body: string): string {
  return `table ${family} ${tableName} {\n${body}}\n`
}
