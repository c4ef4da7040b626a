/**
 * The chains of the fixed part.
 *
 * The path of a connection to a VIP (docs/architecture.md draws it):
 *
 *     prerouting   steer: in the overlay → Envoy, by TPROXY     refuse-forwarded: no endpoints → reject or drop; and what
 *                  source ranges do not let in, also of what was redirected
 *                  translate: not redirected → services → endpoints-tcp-N, or affinity-… → DNAT
 *     output       refuse-local, translate-local: the same for the node's own processes, by redirect in place of TPROXY
 *                  reached: counts what was redirected, behind all rules at input; `pathCounters`
 *                  translate-abandoned, translate-local-abandoned: see below
 *     input        guard: Envoy's ports are for what was redirected or translated there, nothing else; and what a redirect
 *                  translated there reaches a transparent socket alone
 *     postrouting  hairpin: an endpoint that is its own client is masqueraded
 *
 * `tproxy` matches only while a transparent socket listens on the target port: without one, the packet goes on to DNAT.
 * That is how a dead Envoy costs no new connection. Only new connections are looked up; a connection of Envoy's carries
 * the steering mark in its conntrack entry and stays with Envoy whatever happens to the overlay, from its first segment
 * on: the kernel asks chains of type nat about a connection's first packet alone, answered or not.
 *
 * Where no agent has renewed the heartbeat for `--abandon-after`, kube-proxy's rules come first: nothing is redirected
 * or refused any more, and the chains `…-abandoned`, behind kube-proxy's at priority dstnat, serve what nobody has
 * translated there: the Services that kube-proxy does not have, and all of them where there is no kube-proxy. The
 * kernel skips chains of type nat for a connection that one before has translated.
 *
 * `redirect` asks for no socket, so `guard` does: only CAP_NET_ADMIN (or CAP_NET_RAW) makes a socket transparent
 * (ip(7)), so no unprivileged process that takes the port of a dead Envoy gets connections of the node's processes.
 */

import { redirectPortsOf, sharedPortOf } from '../../../net/redirectports.ts'
import type { Family } from '../../family.ts'
import type { RulesetOptions } from '../../options.ts'
import { heartbeatSet, overlaySwitch } from '../elements/elements.ts'
import { localPolicy, markMasquerade } from '../elements/external.ts'
import type { Chain } from '../operations.ts'
import { hooks } from './hooks.ts'
import { markForMasquerade, masqueradeChain, masqueradingVips, notOfPods, ofPods } from './masquerade.ts'
import { inOverlay, maybeRestricted, nodePortAddress, noteCalls, placesInOverlay, redirectToEnvoy } from './redirect.ts'
import {
  accept,
  count,
  drop,
  goto,
  hasMark,
  inSet,
  jump,
  type Key,
  lacksMark,
  masquerade,
  newConnection,
  notInSet,
  ofTransport,
  type Rule,
  type Statement,
  setMark,
  toLocalAddress,
  verdictMap,
} from './statement.ts'

/**
 * On a bridge these hooks run before the packet is delivered (net.bridge.bridge-nf-call-iptables, which is on wherever
 * Kubernetes has such a network), and the socket that TPROXY found is lost on the way. That it was found says that
 * Envoy listens, so a redirect to its port does the same there.
 */
const fromBridge: Statement = { kind: 'from bridge' }

/** The sets of VIPs in the overlay. */
const vipSets = ['envoy', 'envoy-own'] as const

const destination: Key = ['daddr', 'l4proto', 'th dport']
const nodePort: Key = ['masked daddr', 'l4proto', 'th dport']

/** Packets that end a connection pass, so that the other end learns of it. */
const notEnding: Statement = { kind: 'not ending' }

/**
 * The first packet of a client, also of one that conntrack does not see, and no packet of an open connection that it
 * forgot.
 */
const isSyn: Statement = { kind: 'first segment' }

/** An agent serves this node, or did so not long ago; or none did for too long. */
const attended = inSet(['protocol'], heartbeatSet)
const abandoned = notInSet(['protocol'], heartbeatSet)

const refuseNew: Rule = [newConnection, attended, goto('refuse-new')]
const refuseUnknown: Rule = [newConnection, goto('refuse-unknown')]

/** Refuses here, where it also translates: earlier, what we had of a Service would refuse one that kube-proxy has. */
const serveAbandoned: readonly Rule[] = [[attended, accept], [jump('refuse-new')], [goto('service')]]

/**
 * Packets of new connections that are redirected to Envoy, of those that reach it, and of those that repeat what it
 * answered.
 */
export const pathCounters = ['redirected', 'reached', 'repeated'] as const
const [redirectedCounter, reachedCounter, repeatedCounter] = pathCounters

/** Decides by a new connection's source, as externalTrafficPolicy Local does. */
function localPolicyRules(key: Key, options: RulesetOptions): readonly Rule[] {
  return [
    [ofPods(options), verdictMap(key, 'services')],
    [toLocalAddress('saddr'), markForMasquerade(options), verdictMap(key, 'services')],
    [verdictMap(key, 'local-services')],
  ]
}

/**
 * Chains that elements jump to, before those that use the maps. kube-proxy's nftables mode drops what it does not know
 * in the Service range at priority filter, so refusing has to come before that.
 */
export function fixedChains(family: Family, options: RulesetOptions): readonly Chain[] {
  const { steeringMark, envoyMark, targetPort } = options
  const [external, local] = [placesInOverlay(family, 'envoy-external'), placesInOverlay(family, 'envoy-local')]
  const isNodePortAddress = nodePortAddress(family)
  const redirected = hasMark('meta', steeringMark)
  const sharedPort = sharedPortOf(targetPort)
  const toEnvoy = redirectToEnvoy(targetPort, options, count(redirectedCounter))
  const toShared = redirectToEnvoy(sharedPort, options, count(redirectedCounter))
  const redirect: Statement = { kind: 'redirect', port: targetPort }
  const redirectToShared: Statement = { kind: 'redirect', port: sharedPort }
  const isSwitchedOff = inSet(['protocol'], overlaySwitch)
  const reset: Statement = { kind: 'reject', with: 'tcp reset' }
  // Envoy would show an external client's address to endpoints, whose answers would not come back through this node.
  const keptBelow =
    options.clientAddress === 'preserve' ? vipSets.map((set): Rule => [inOverlay(set), notOfPods(options), accept]) : []
  return [
    // ICMP errors are limited to about one a second and client; resets are not.
    { name: 'refuse', rules: [[ofTransport('tcp'), reset], [{ kind: 'reject', with: 'port unreachable' }]] },
    {
      name: 'refuse-new',
      rules: [
        [verdictMap(destination, 'source-checks')],
        [verdictMap(destination, 'no-endpoints')],
        [...isNodePortAddress, verdictMap(nodePort, 'no-endpoints')],
      ],
    },
    // A packet that is still addressed to a cluster IP after translation leads to no Service port.
    {
      name: 'refuse-unknown',
      rules: [
        [inSet(['daddr'], 'cluster-ips'), goto('refuse')],
        [inSet(['daddr'], 'service-ranges'), drop],
      ],
    },
    { name: markMasquerade, rules: [[markForMasquerade(options)]] },
    { name: localPolicy.address, rules: localPolicyRules(destination, options) },
    { name: localPolicy['node-port'], rules: localPolicyRules(nodePort, options) },
    { name: 'node-port', rules: [[verdictMap(nodePort, 'external')], [verdictMap(nodePort, 'services')]] },
    {
      name: 'service',
      rules: [
        [verdictMap(destination, 'external')],
        ...masqueradingVips(options, verdictMap(destination, 'services')),
        [...isNodePortAddress, goto('node-port')],
      ],
    },
    {
      name: 'steer-new',
      rules: [
        // An endpoint has not answered yet, and the client repeats: Envoy would get the endpoint's address as the VIP.
        [{ kind: 'translated', isNot: false }, accept],
        [abandoned, accept],
        [isSwitchedOff, accept],
        [inSet(['saddr'], 'kernel-clients'), accept],
        [...maybeRestricted, accept],
        ...keptBelow,
        ...noteCalls(family, options),
        [inOverlay('envoy'), ...toShared],
        ...[[inOverlay('envoy-own')], ...external].map(place => [...place, ...toEnvoy]),
        ...local.map(place => [...place, goto('steer-local')]),
      ],
    },
    // The policy Local does not concern pods: the kernel layer leads them to all endpoints. The node's own do not pass
    // here.
    {
      name: 'steer-local',
      rules: [
        [ofPods(options), accept],
        [ofTransport('tcp'), ...toEnvoy],
      ],
    },
    // A client that has become redirect-exempt loses its connections through Envoy.
    {
      name: 'steer-open',
      rules: [
        [inSet(['saddr'], 'kernel-clients'), notEnding, goto('refuse')],
        [...maybeRestricted, notEnding, goto('refuse')],
        // Envoy's socket has not answered yet, and the client repeats. The kernel translates it no more. The shared listener
        // knows the VIPs of ports that have left the overlay meanwhile.
        ...[[inOverlay('envoy-own')], ...external, ...local].map(place => [newConnection, ...place, ...toEnvoy]),
        [newConnection, ofTransport('tcp'), ...toShared],
        [newConnection, ofTransport('tcp'), ...toEnvoy],
        [setMark('meta', steeringMark)],
        [ofTransport('tcp'), isSyn, count(repeatedCounter)],
      ],
    },
    {
      name: 'steer',
      hook: hooks.mangle,
      // Every packet passes here: those of open connections that are not Envoy's meet as few rules as possible.
      rules: [
        [hasMark('ct', steeringMark), { kind: 'direction', direction: 'original' }, goto('steer-open')],
        [newConnection, goto('steer-new')],
      ],
    },
    { name: 'refuse-forwarded', hook: hooks.refuse, rules: [refuseNew] },
    {
      name: 'translate',
      hook: hooks.dstnat,
      rules: [
        [fromBridge, redirected, inOverlay('envoy'), redirectToShared],
        [fromBridge, redirected, ofTransport('tcp'), redirect],
        [redirected, accept],
        [attended, goto('service')],
      ],
    },
    { name: 'translate-abandoned', hook: hooks.abandoned, rules: [[redirected, accept], ...serveAbandoned] },
    { name: 'refuse-unknown-forwarded', hook: hooks.forward, rules: [refuseUnknown] },
    { name: 'refuse-unknown-local', hook: hooks.output, rules: [refuseUnknown] },
    // Envoy's open connections to an endpoint that only the kernel layer may reach end with their next packet.
    {
      name: 'refuse-envoy',
      hook: hooks.output,
      rules: [[hasMark('meta', envoyMark), inSet(['daddr'], 'kernel-endpoints'), notEnding, goto('refuse')]],
    },
    { name: 'refuse-local', hook: hooks.refuseLocal, rules: [refuseNew] },
    {
      name: 'translate-local',
      hook: hooks.dstnatLocal,
      rules: [
        [hasMark('meta', envoyMark), accept],
        [abandoned, accept],
        [isSwitchedOff, goto('service')],
        ...noteCalls(family, options),
        [inOverlay('envoy'), redirectToShared],
        ...[[inOverlay('envoy-own')], ...external].map(place => [...place, redirect]),
        [goto('service')],
      ],
    },
    {
      name: 'translate-local-abandoned',
      hook: hooks.abandonedLocal,
      rules: [[hasMark('meta', envoyMark), accept], ...serveAbandoned],
    },
    {
      name: 'guard',
      hook: hooks.input,
      // Matches connections to it; answers to a connection that the node itself has from a port of that number pass.
      rules: redirectPortsOf(targetPort).flatMap((port): readonly Rule[] => {
        const toEnvoyPort: Statement = { kind: 'port', transport: 'tcp', port }
        return [
          [toEnvoyPort, isSyn, lacksMark('meta', steeringMark), { kind: 'translated', isNot: true }, reset],
          [toEnvoyPort, newConnection, { kind: 'translated', isNot: false }, { kind: 'opaque socket' }, reset],
        ]
      }),
    },
    {
      name: 'reached',
      hook: hooks.reached,
      rules: [[newConnection, redirected, count(reachedCounter)]],
    },
    {
      name: 'hairpin',
      hook: hooks.srcnat,
      rules: [[{ kind: 'translated', isNot: false }, inSet(['saddr', 'daddr'], 'hairpin'), masquerade]],
    },
    masqueradeChain(options),
  ]
}
