/** Matches connections that go to Envoy, and redirects them. */

import type { Family } from '../../family.ts'
import type { RulesetOptions } from '../../options.ts'
import { calledSeconds, calledSet, candidatesSet, type OverlaySet, type SetName } from '../elements/elements.ts'
import { accept, inSet, type Key, notInSet, type Rule, type Statement, setMark, toLocalAddress } from './statement.ts'

/** Redirects a connection to a port of Envoy's, and with it all that follows. `then` comes once a socket was found. */
export function redirectToEnvoy(
  port: number,
  { steeringMark }: Pick<RulesetOptions, 'steeringMark'>,
  ...then: readonly Statement[]
): Rule {
  return [{ kind: 'tproxy', port }, ...then, setMark('meta', steeringMark), setMark('ct', steeringMark), accept]
}

const loopback = { ip: '127.0.0.0/8', ip6: '::1' } as const

/** An address of the node that opens node ports. */
export function nodePortAddress(family: Family): Rule {
  return [
    inSet(['daddr'], 'node-port-addresses' satisfies SetName),
    { kind: 'address', of: 'daddr', range: loopback[family], isNot: true },
    toLocalAddress('daddr'),
  ]
}

export function inOverlay(set: OverlaySet): Statement {
  return inSet(['daddr', 'tcp dport'], set)
}

/** Match packets to external addresses in the overlay, by address and by node port, of each externalTrafficPolicy. */
export function placesInOverlay(family: Family, set: OverlaySet): readonly Rule[] {
  return [[inOverlay(set)], [inSet(['masked daddr', 'tcp dport'], set), ...nodePortAddress(family)]]
}

/**
 * Records which ports that are for Envoy are called: before the decision where the connection goes, since a full set
 * matches nothing.
 */
export function noteCalls(family: Family, { tracksUse }: RulesetOptions): readonly Rule[] {
  if (!tracksUse) return []
  const note = (key: Key, ...where: Rule): Rule => {
    return [inSet(key, candidatesSet), ...where, { kind: 'remember', key, set: calledSet, seconds: calledSeconds }]
  }
  return [note(['daddr', 'tcp dport']), note(['masked daddr', 'tcp dport'], ...nodePortAddress(family))]
}

/** While a policy restricts egress, it may select a pod that the agent does not know yet. */
export const maybeRestricted: Rule = [
  inSet(['masked saddr'], 'only-known-clients'),
  notInSet(['saddr'], 'known-clients'),
  notInSet(['saddr'], 'outside'),
]
