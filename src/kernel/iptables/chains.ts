/**
 * The fixed part of our iptables rules: for kernels and systems without nftables. A Service port is one rule of
 * LIGHTPATH-SERVICES, a chain of its own and members of ipsets (ports.ts).
 *
 *     mangle  PREROUTING   LIGHTPATH-STEER   in the overlay → Envoy, by TPROXY
 *     nat     PREROUTING   LIGHTPATH-PRE     not redirected → LIGHTPATH-SERVICES → LP-… → DNAT
 *             OUTPUT       LIGHTPATH-OUT     the same for the node's own processes, by REDIRECT
 *             POSTROUTING  LIGHTPATH-POST    an endpoint that is its own client is masqueraded
 *             PREROUTING, OUTPUT  LIGHTPATH-LATE  behind kube-proxy's, once no heartbeat is left; nftables/rules/chains.ts
 *     filter  all          LIGHTPATH-REFUSE  no endpoints → reject or drop; what leads to no Service port → reject or drop
 *             OUTPUT       LIGHTPATH-ENVOY   where Envoy may not connect to → reset
 *             INPUT        LIGHTPATH-GUARD   Envoy's ports are for what was redirected or translated there, nothing else
 *
 * Unlike nftables' `tproxy`, TPROXY drops where no transparent socket listens. So while Envoy is dead, what is in the
 * overlay is lost until the agent has emptied it.
 */

import { sharedPortOf } from '../../net/redirectports.ts'
import type { Family } from '../family.ts'
import { calledSeconds } from '../nftables/elements/elements.ts'
import type { RulesetOptions } from '../options.ts'

export const tables = ['mangle', 'nat', 'filter'] as const
export type TableName = (typeof tables)[number]

export const servicesChain = 'LIGHTPATH-SERVICES'
export const fixedPrefix = 'LIGHTPATH-'
/** The prefix of the chains of Service ports. */
export const portPrefix = 'LP-'

export interface FixedChain {
  readonly table: TableName
  readonly name: string
  /** Without `-A NAME`. */
  readonly rules: readonly string[]
  /** The built-in chains that jump here first of all, with a condition of the rule. */
  readonly from: readonly (readonly [chain: string, condition: string])[]
  /** They jump here last of all instead. */
  readonly isLast?: boolean
}

/**
 * - `envoy`: VIP:ports that go to the listener of Envoy that Service ports share
 * - `own`: those that go to a listener of their own: both are the overlay
 * - `refuse`, `drop`: VIP:ports without endpoints
 * - `hairpin`: endpoints of this node, address and port and address again
 * - `clients`: pods whose connections skip the overlay
 * - `endpoints`: pods that Envoy may not connect to
 * - `strict`, `known`: connections from `strict` skip the overlay, except those from `known`
 * - `vips`: every cluster IP, where all of them are ours
 * - `ranges`: the ranges of cluster IPs, where all of them are ours
 * - `candidates`: VIP:ports (TCP) that may go to Envoy, whether they do or not, where use decides which do
 */
export type SetName = OverlaySetName | 'refuse' | 'drop' | 'hairpin' | 'vips' | 'ranges' | 'candidates' | PolicySetName
export const overlaySetNames = ['envoy', 'own'] as const
type OverlaySetName = (typeof overlaySetNames)[number]
type PolicySetName = 'clients' | 'endpoints' | 'strict' | 'known'
const setTypes: Readonly<Record<SetName, string>> = {
  envoy: 'hash:ip,port',
  own: 'hash:ip,port',
  refuse: 'hash:ip,port',
  drop: 'hash:ip,port',
  hairpin: 'hash:ip,port,ip',
  clients: 'hash:ip',
  endpoints: 'hash:ip',
  strict: 'hash:net',
  known: 'hash:ip',
  vips: 'hash:ip',
  ranges: 'hash:net',
  candidates: 'hash:ip,port',
}
export const setNames = Object.keys(setTypes) as readonly SetName[]

/** `lightpath-envoy4` */
export function systemSetName(family: Family, set: SetName): string {
  return `lightpath-${set}${family === 'ip' ? 4 : 6}`
}

/**
 * Names the set of destinations that are not redirected: all while the overlay is switched off, else none. Only people
 * change it.
 */
export function overlaySwitch(family: Family): string {
  return `lightpath-off${family === 'ip' ? 4 : 6}`
}

/** Names the set that has all addresses while an agent renews it; nftables/heartbeat.ts says why. */
export function heartbeatSet(family: Family): string {
  return `lightpath-beat${family === 'ip' ? 4 : 6}`
}

/** Names the set of VIP:ports that had a new connection in the last `calledSeconds`; packets fill it. */
export function calledSet(family: Family): string {
  return `lightpath-called${family === 'ip' ? 4 : 6}`
}

/** The members of the switch and of the heartbeat that cover all addresses: a set of networks takes no /0. */
export const everywhere = { ip: ['0.0.0.0/1', '128.0.0.0/1'], ip6: ['::/1', '8000::/1'] } as const

/** Bounds a set; the kernel refuses more. */
const maxMembers = 1_048_576

/** Renders what makes the missing sets, for `ipset restore -exist`. */
export function renderSets(family: Family): string {
  const inet = family === 'ip' ? 'inet' : 'inet6'
  const create = (name: string, type: string) => `create ${name} ${type} family ${inet} maxelem ${maxMembers}\n`
  const sets = setNames.map(set => create(systemSetName(family, set), setTypes[set]))
  const heartbeat = `create ${heartbeatSet(family)} hash:net family ${inet} maxelem ${maxMembers} timeout 0\n`
  const called = `create ${calledSet(family)} hash:ip,port family ${inet} timeout ${calledSeconds}\n`
  return [...sets, create(overlaySwitch(family), 'hash:net'), heartbeat, called].join('')
}

export function fixedChains(family: Family, options: RulesetOptions): readonly FixedChain[] {
  const ports = { envoy: sharedPortOf(options.targetPort), own: options.targetPort } as const
  const steering = bits(options.steeringMark)
  const inSet = (set: SetName, flags: string) => `-m set --match-set ${systemSetName(family, set)} ${flags}`
  const inOverlay = (set: keyof typeof ports) =>
    `-p tcp -m set ! --match-set ${overlaySwitch(family)} dst ${inSet(set, 'dst,dst')}`
  const abandoned = `-m set ! --match-set ${heartbeatSet(family)} dst`
  const isNew = '-m conntrack --ctstate NEW'
  const notKnown = `-m set ! --match-set ${systemSetName(family, 'known')} src`
  const reset = '-p tcp --tcp-flags FIN,RST NONE -j REJECT --reject-with tcp-reset'
  const vip = inSet('vips', 'dst')
  // A packet that is still addressed to a cluster IP after translation leads to no Service port, unless it is on its
  // way to Envoy.
  const unknown = `-m mark ! --mark ${steering}`
  const toEnvoy = (set: keyof typeof ports) => `TPROXY --on-port ${ports[set]} --tproxy-mark ${steering}`
  const isEnvoys = `-m connmark --mark ${steering} -m conntrack --ctdir ORIGINAL`
  // Comes before the decision where the connection goes. The time of an entry that exists begins anew.
  const note = `-j SET --add-set ${calledSet(family)} dst,dst --exist --timeout ${calledSeconds}`
  const noteCalls = options.tracksUse ? [`${isNew} -p tcp ${inSet('candidates', 'dst,dst')} ${note}`] : []
  const always = (...chains: readonly string[]) => chains.map(chain => [chain, ''] as const)
  return [
    {
      table: 'mangle',
      name: 'LIGHTPATH-STEER',
      from: always('PREROUTING'),
      rules: [
        `${isNew} ${inSet('clients', 'src')} -j RETURN`,
        `${isNew} ${inSet('strict', 'src')} ${notKnown} -j RETURN`,
        // Repeats what Envoy's socket has not answered (kernel/nftables/rules/chains.ts).
        `-p tcp ${isNew} ${isEnvoys} ${inSet('own', 'dst,dst')} -j ${toEnvoy('own')}`,
        `-p tcp ${isNew} ${isEnvoys} -j ${toEnvoy('envoy')}`,
        `${isNew} -m conntrack --ctstate DNAT -j RETURN`,
        `${isNew} ${abandoned} -j RETURN`,
        ...noteCalls,
        ...overlaySetNames.flatMap(set => [
          `${isNew} ${inOverlay(set)} -j CONNMARK --set-xmark ${steering}`,
          `${isNew} ${inOverlay(set)} -j ${toEnvoy(set)}`,
        ]),
        `${isEnvoys} -j MARK --set-xmark ${steering}`,
      ],
    },
    {
      table: 'nat',
      name: 'LIGHTPATH-PRE',
      from: always('PREROUTING'),
      rules: [`-m mark --mark ${steering} -j ACCEPT`, `${abandoned} -j RETURN`, `-j ${servicesChain}`],
    },
    {
      table: 'nat',
      name: 'LIGHTPATH-OUT',
      from: always('OUTPUT'),
      rules: [
        `-m mark --mark ${bits(options.envoyMark)} -j ACCEPT`,
        `${abandoned} -j RETURN`,
        ...noteCalls,
        ...overlaySetNames.map(set => `${inOverlay(set)} -j REDIRECT --to-ports ${ports[set]}`),
        `-j ${servicesChain}`,
      ],
    },
    {
      table: 'nat',
      name: 'LIGHTPATH-LATE',
      from: always('PREROUTING', 'OUTPUT'),
      isLast: true,
      rules: [
        `-m mark --mark ${steering} -j ACCEPT`,
        `-m mark --mark ${bits(options.envoyMark)} -j ACCEPT`,
        `-m set --match-set ${heartbeatSet(family)} dst -j RETURN`,
        `-j ${servicesChain}`,
      ],
    },
    {
      table: 'nat',
      name: 'LIGHTPATH-POST',
      from: always('POSTROUTING'),
      rules: [`-m conntrack --ctstate DNAT ${inSet('hairpin', 'src,dst,dst')} -j MASQUERADE --random-fully`],
    },
    {
      table: 'filter',
      name: 'LIGHTPATH-REFUSE',
      from: ['INPUT', 'FORWARD', 'OUTPUT'].map(chain => [chain, '-m conntrack --ctstate NEW'] as const),
      rules: [
        `${inSet('drop', 'dst,dst')} -j DROP`,
        `-p tcp ${inSet('refuse', 'dst,dst')} -j REJECT --reject-with tcp-reset`,
        `${inSet('refuse', 'dst,dst')} -j REJECT`,
        `${unknown} -p tcp ${vip} -j REJECT --reject-with tcp-reset`,
        `${unknown} ${vip} -j REJECT`,
        `${unknown} ${inSet('ranges', 'dst')} -j DROP`,
      ],
    },
    {
      table: 'filter',
      name: 'LIGHTPATH-ENVOY',
      from: always('OUTPUT'),
      rules: [`-m mark --mark ${bits(options.envoyMark)} ${inSet('endpoints', 'dst')} ${reset}`],
    },
    {
      table: 'filter',
      name: 'LIGHTPATH-GUARD',
      from: always('INPUT'),
      rules: [
        // Open connections through Envoy of a client that has become redirect-exempt end with their next packet.
        `-m connmark --mark ${steering} ${inSet('clients', 'src')} ${reset}`,
        `-m connmark --mark ${steering} ${inSet('strict', 'src')} ${notKnown} ${reset}`,
        ...Object.values(ports).flatMap(port => {
          const toEnvoyPort = `-p tcp --dport ${port}`
          const redirected = `${toEnvoyPort} -m conntrack --ctstate NEW -m conntrack --ctstate DNAT`
          return [
            `${toEnvoyPort} --tcp-flags SYN,ACK SYN -m mark ! --mark ${steering} -m conntrack ! --ctstate DNAT -j REJECT --reject-with tcp-reset`,
            // Redirected connections reach only a transparent socket: no unprivileged process has one
            // (kernel/nftables/rules/chains.ts).
            `${redirected} -m socket --transparent --nowildcard -j RETURN`,
            `${redirected} -j REJECT --reject-with tcp-reset`,
          ]
        }),
      ],
    },
  ]
}

/** `0x8000/0x8000` */
function bits(mark: number): string {
  const hex = `0x${mark.toString(16)}`
  return `${hex}/${hex}`
}
