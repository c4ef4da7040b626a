/** Keeping what did not change identical, so that whoever compares two states sees at once what is different. */

import type { Endpoint, External, PortState } from './port.ts'

/** The known state where nothing is different, and its parts where they are not. */
export function reuse(known: PortState | undefined, next: PortState): PortState {
  if (!known) return next
  const endpoints = reuseList(known.endpoints, next.endpoints, sameFields)
  const answering = reuseList(known.answering, next.answering, sameFields)
  const layer = sameFields(known.layer, next.layer) ? known.layer : next.layer
  const settings = sameFields(known.settings, next.settings) ? known.settings : next.settings
  const port = sameFields(known.port, next.port) ? known.port : next.port
  const external = reuseExternal(known.external, next.external)
  const reused = { ...next, endpoints, answering, layer, settings, port, external }
  return sameFields(known, reused) ? known : reused
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
    layer: sameFields(known.layer, next.layer) ? known.layer : next.layer,
  }
  return sameFields(known, reused) ? known : reused
}

function reuseList<T>(known: readonly T[], next: readonly T[], same: (a: T, b: T) => boolean): readonly T[] {
  if (known === next) return known
  return known.length === next.length && known.every((value, i) => same(value, next[i]!)) ? known : next
}

/** Whether two flat objects have identical values. Thousands of ports of a Service pass here at once: no lists of keys are made. */
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
