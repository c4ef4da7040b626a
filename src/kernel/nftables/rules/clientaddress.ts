/**
 * Envoy's connections to endpoints come from the client's address (envoy/resources/redirect.ts), so what endpoints
 * answer is addressed to the client and has to be brought back to Envoy. Its connections are known by their conntrack
 * entry, which has the envoy mark; their replies get the steering mark, whose routing rule (system/routing/steering.ts)
 * delivers them to this machine.
 *
 * That takes a routed pod network, in which replies to a pod of this node pass the prerouting hook. Reverse path
 * filters are no obstacle, also strict ones: the sender of a reply is where the route to it says.
 */

import type { RulesetOptions } from '../../options.ts'
import type { Chain } from '../operations.ts'
import { hasMark, inSet, masquerade, type Rule, setMark } from './statement.ts'

export const restoreChain = 'restore'

/** Nothing where endpoints see the node's address. */
export function clientAddressChains(options: RulesetOptions): readonly Chain[] {
  if (options.clientAddress !== 'preserve') return []
  const { steeringMark, envoyMark } = options
  const ofEnvoy = hasMark('meta', envoyMark)
  const restore: Rule = [
    { kind: 'direction', direction: 'reply' },
    hasMark('ct', envoyMark),
    setMark('meta', steeringMark),
  ]
  return [
    { name: restoreChain, hook: { type: 'filter', hook: 'prerouting', priority: -150 }, rules: [restore] },
    {
      // Endpoints on the host's own network answer from here: a route chain looks the route up again for a new mark.
      name: 'restore-local',
      hook: { type: 'route', hook: 'output', priority: -150 },
      rules: [[ofEnvoy, setMark('ct', envoyMark)], restore],
    },
    {
      // No connection of Envoy's is translated, so the hairpin chain does not know them.
      name: 'hairpin-envoy',
      hook: { type: 'nat', hook: 'postrouting', priority: 100 },
      rules: [[ofEnvoy, inSet(['saddr', 'daddr'], 'hairpin'), masquerade]],
    },
  ]
}
