/**
 * Reads how fast the endpoints of Service ports answer, and which share of the requests each gets, as `explain` shows
 * it.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import { type EndpointLatency, readLatencies } from '../../../envoy/program/latencies.ts'
import { hostPort } from '../../../net/address.ts'
import type { Endpoint, PortState } from '../../../plan/ports/port.ts'

export interface EndpointSpeed {
  /** Milliseconds until the first byte of an answer; undefined where unknown. */
  readonly ms: number | undefined
  /** The share of its tries that fail, 0 to 1. */
  readonly failing: number
  /** Its share of the port's requests while it was watched, 0 to 1; undefined where there were none. */
  readonly share: number | undefined
}

/** By id of the port and `hostPort` of the endpoint. */
export type Speeds = Readonly<Record<string, Readonly<Record<string, EndpointSpeed>>>>

const watchedMs = 500

/** Reads ports that Envoy serves. Requests to the same endpoints by other Service ports count, too. */
export async function watchSpeeds(directory: string, states: readonly PortState[]): Promise<Speeds> {
  const endpoints = states.flatMap(endpointsOf)
  const before = readLatencies(directory, endpoints)
  if (before.size === 0) return {}
  await sleep(watchedMs)
  const after = readLatencies(directory, endpoints)
  return Object.fromEntries(states.map(state => [state.id, speedsOf(namesOf(state, after), before, after)]))
}

/** Those of other zones, too, where requests may spill over to them. */
function endpointsOf({ endpoints, spillOver = [] }: PortState): readonly Endpoint[] {
  return [...endpoints, ...spillOver]
}

function namesOf(state: PortState, known: ReadonlyMap<string, EndpointLatency>): readonly string[] {
  return endpointsOf(state)
    .map(({ ip, port }) => hostPort(ip, port))
    .filter(name => known.has(name))
}

export function speedsOf(
  endpoints: readonly string[],
  before: ReadonlyMap<string, Pick<EndpointLatency, 'tries'>>,
  after: ReadonlyMap<string, Pick<EndpointLatency, 'tries' | 'ms' | 'failing'>>,
): Readonly<Record<string, EndpointSpeed>> {
  const tries = (name: string) => Math.max(0, after.get(name)!.tries - (before.get(name)?.tries ?? 0))
  const all = endpoints.reduce((sum, name) => sum + tries(name), 0)
  return Object.fromEntries(
    endpoints.map(name => {
      const { ms, failing } = after.get(name)!
      return [name, { ms, failing, share: all === 0 ? undefined : tries(name) / all }]
    }),
  )
}
