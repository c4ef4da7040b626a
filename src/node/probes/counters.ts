/**
 * Judges by the ruleset's counters whether something takes connections on their way to Envoy: a firewall or CNI that
 * begins to while the node runs. It only says when to test the path.
 */

/** Packets so far. */
export interface PathCounters {
  /** First segments that were redirected to Envoy; one that is sent again counts again, unless it was answered. */
  readonly redirected: number
  /** Those of them that passed all rules at input. */
  readonly reached: number
  /** First segments that were sent again after Envoy had answered. */
  readonly repeated: number
}

/** A packet may be between two counters while they are read, and any network loses one now and then. */
const fewest = 2
/** The share of packets redirected meanwhile. */
const share = 0.1

/** The suspicion in words; undefined where all is well. Counters that went back were made anew, and show nothing. */
export function suspicion(before: PathCounters, after: PathCounters): string | undefined {
  const [redirected, reached, repeated] = (['redirected', 'reached', 'repeated'] as const).map(
    name => after[name] - before[name],
  ) as [number, number, number]
  if (Math.min(redirected, reached, repeated) < 0) return undefined
  const most = Math.max(fewest, share * redirected)
  if (redirected - reached >= most)
    return `${redirected - reached} of ${redirected} packets that were redirected to Envoy did not reach it`
  if (repeated >= most) return `${repeated} clients repeated what Envoy had answered, of ${redirected} new ones`
  return undefined
}
