/** Limits what exclusions take from a Service port: never its last endpoint, and never more than a share. */

import type { Exclusion } from './exclusion.ts'

/**
 * Returns which of the ready endpoints are left out, with why. Where not all excluded ones may be, those that were
 * excluded first are, so that all nodes leave out the same.
 *
 * @param endpoints in order of address, all that are ready, on whatever node
 * @param share the largest part of them that is left out, from 0 to 1
 * @param gatedOut how many more would be ready, had Kubernetes not been told that they are excluded: they have taken
 *   their part of the share already
 */
export function leftOut<T>(
  endpoints: readonly T[],
  exclusionOf: (endpoint: T) => Exclusion | undefined,
  share: number,
  gatedOut = 0,
): ReadonlyMap<T, Exclusion> {
  const excluded = endpoints.flatMap(endpoint => {
    const exclusion = exclusionOf(endpoint)
    return exclusion ? [[endpoint, exclusion] as const] : []
  })
  const most = Math.min(Math.floor((endpoints.length + gatedOut) * share) - gatedOut, endpoints.length - 1)
  if (excluded.length <= most) return new Map(excluded)
  return new Map(excluded.sort(([, a], [, b]) => a.since - b.since).slice(0, Math.max(0, most)))
}
