/** Makes the endpoints of a port from those chosen. */

import type { Barred } from '../../services/podindex.ts'
import { compareEndpoints, type Endpoint } from '../ports/port.ts'
import type { Candidate } from './rules.ts'

/** The index of the port's number on the endpoint, in ascending order: 0 where there is but one. */
export interface NumberedCandidate extends Candidate {
  readonly number: number
  /** See `Endpoint`. */
  readonly barred: Barred | undefined
}

export const none: readonly Endpoint[] = []

/** Keeps endpoints that are as they were the same objects, and the list where all are. */
export function endpointsOf(
  chosen: readonly NumberedCandidate[],
  numbers: readonly number[],
  known: readonly Endpoint[] = none,
): readonly Endpoint[] {
  let [at, isSame] = [0, chosen.length === known.length]
  const endpoints = chosen.map(candidate => {
    const port = numbers[candidate.number]!
    // Mostly the next one is the same. Both lists are in order.
    if (at < known.length && !isEndpoint(known[at]!, candidate, port)) {
      const endpoint = { ip: candidate.source.ip, port }
      while (at < known.length && compareEndpoints(known[at]!, endpoint) < 0) at++
    }
    const before = known[at]
    if (before && isEndpoint(before, candidate, port)) {
      at++
      return before
    }
    isSame = false
    return toEndpoint(candidate, port)
  })
  return isSame ? known : endpoints
}

export function toEndpoint({ source, barred }: NumberedCandidate, port: number): Endpoint {
  const { ip, traits } = source
  const { nodeName } = traits
  if (barred === undefined) return { ip, port, nodeName }
  const { why, isLeft } = barred
  return isLeft ? { ip, port, nodeName, barred: why, isLeft } : { ip, port, nodeName, barred: why }
}

function isEndpoint(known: Endpoint, { source, barred }: NumberedCandidate, port: number): boolean {
  return (
    known.ip === source.ip &&
    known.port === port &&
    known.nodeName === source.traits.nodeName &&
    known.barred === barred?.why &&
    (known.isLeft ?? false) === (barred?.isLeft ?? false)
  )
}
