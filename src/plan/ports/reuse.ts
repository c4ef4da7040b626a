/** Keeps what did not change identical, so that whoever compares two states sees at once what is different. */

import type { Endpoint, External, PortState } from './port.ts'

/** Returns the known state where nothing is different, and its parts where they are not. */
export function reuse(known: PortState | undefined, next: PortState): PortState {
  if (!known) return next
  const endpoints = reuseList(known.endpoints, next.endpoints, sameFields)
  const spillOver = next.spillOver && reuseList(known.spillOver ?? [], next.spillOver, sameFields)
  const servingEndpoints = reuseList(known.servingEndpoints, next.servingEndpoints, sameFields)
  const leftOut = next.leftOut && reuseList(known.leftOut ?? [], next.leftOut, sameFields)
  const layer = reuseObject(known.layer, next.layer)
  const settings = reuseObject(known.settings, next.settings)
  const port = reuseObject(known.port, next.port)
  const external = reuseExternal(known.external, next.external)
  const isReused =
    endpoints === next.endpoints &&
    spillOver === next.spillOver &&
    servingEndpoints === next.servingEndpoints &&
    leftOut === next.leftOut &&
    layer === next.layer &&
    settings === next.settings &&
    port === next.port &&
    external === next.external
  // Thousands of ports of a Service pass here at once: most need no copy.
  return reuseObject(
    known,
    isReused
      ? next
      : {
          ...next,
          endpoints,
          ...(spillOver && { spillOver }),
          servingEndpoints,
          ...(leftOut && { leftOut }),
          layer,
          settings,
          port,
          external,
        },
  )
}

function reuseExternal(known: External | undefined, next: External | undefined): External | undefined {
  if (!known || !next) return next
  const reused = {
    ...next,
    externalIPs: reuseList(known.externalIPs, next.externalIPs, Object.is),
    loadBalancerIPs: reuseList(known.loadBalancerIPs, next.loadBalancerIPs, Object.is),
    sourceRanges: reuseList(known.sourceRanges, next.sourceRanges, Object.is),
    endpoints: reuseList<Endpoint>(known.endpoints, next.endpoints, sameFields),
    clusterEndpoints: reuseList<Endpoint>(known.clusterEndpoints, next.clusterEndpoints, sameFields),
    layer: reuseObject(known.layer, next.layer),
  }
  return reuseObject(known, reused)
}

function reuseObject<T extends object>(known: T, next: T): T {
  return sameFields(known, next) ? known : next
}

function reuseList<T>(known: readonly T[], next: readonly T[], same: (a: T, b: T) => boolean): readonly T[] {
  if (known === next) return known
  return known.length === next.length && known.every((value, i) => same(value, next[i]!)) ? known : next
}

/**
 * Whether two flat objects have identical values. Makes no lists of keys, since this runs for each of thousands of
 * ports.
 */
function sameFields<T extends object>(a: T, b: T): boolean {
  if (a === b) return true
  let more = 0
  for (const key in b) {
    if (a[key] !== b[key]) return false
    more++
  }
  for (const _ in a) more--
  return more === 0
}
