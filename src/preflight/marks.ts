/** Finds who else uses our marks. */

import { listRules } from '../kernel/netlink/route/rules.ts'
import { withSocket } from '../kernel/netlink/socket.ts'
import { type RoutingMarks, rulesWithMarks } from './routing.ts'
import { readForeignRules } from './ruleset.ts'

/** Lists rules and routing rules of others that use our marks, in words. Rejects with a CommandError. */
export async function findMarkUses(options: RoutingMarks): Promise<readonly string[]> {
  const { marks } = await readForeignRules(options.steeringMark | options.envoyMark)
  const rules = withSocket('route', {}, socket =>
    (['IPv4', 'IPv6'] as const).flatMap(family => listRules(socket, family)),
  )
  return [...marks, ...rulesWithMarks(rules, options)]
}
