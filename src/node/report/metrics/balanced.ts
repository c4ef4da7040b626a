/** Reads, for metrics, how the endpoints do of Service ports in Envoy that are balanced by latency. */

import type { EndpointLatency } from '../../../envoy/program/latencies.ts'
import { hostPort } from '../../../net/address.ts'
import type { SeenPort } from '../../../observe/metrics/endpoint-metrics.ts'
import type { Endpoint, PortState } from '../../../plan/ports/port.ts'

export type BalancedPort = Pick<PortState, 'id' | 'endpoints' | 'spillOver'>

export interface BalancedOptions {
  readonly ports: () => readonly BalancedPort[]
  /** Reads what is known of these endpoints, by `hostPort`. */
  readonly latencies: (endpoints: readonly Endpoint[]) => ReadonlyMap<string, EndpointLatency>
  /** Milliseconds, by a clock that only goes forward. */
  readonly now?: () => number
}

/** Several metrics of one page have the same reading. */
const keptMs = 500
/** Requests are counted over one to two of these, however many ask and however often. */
const windowMs = 15_000

interface Tries {
  readonly at: number
  readonly byEndpoint: ReadonlyMap<string, number>
}

export class Balanced {
  readonly #options: BalancedOptions
  #made: { readonly at: number; readonly ports: readonly SeenPort[] } | undefined
  /** The beginnings of this window and of the one before. */
  #windows: readonly [Tries, Tries] | undefined

  constructor(options: BalancedOptions) {
    this.#options = options
  }

  /** Reads the ports that had requests: of most of a node's nobody asks anything. */
  read(): readonly SeenPort[] {
    const { ports, latencies, now = () => performance.now() } = this.#options
    const at = now()
    if (this.#made && at - this.#made.at < keptMs) return this.#made.ports
    const found = ports()
    const known = latencies(found.flatMap(({ endpoints, spillOver = [] }) => [...endpoints, ...spillOver]))
    const tries = { at, byEndpoint: new Map([...known].map(([endpoint, { tries }]) => [endpoint, tries])) }
    const [before, latest] = this.#windows ?? [tries, tries]
    this.#windows = at - latest.at < windowMs ? [before, latest] : [latest, tries]
    const asked = found.filter(({ endpoints }) => endpoints.some(({ ip, port }) => known.has(hostPort(ip, port))))
    this.#made = { at, ports: asked.map(port => seenOf(port, known, before.byEndpoint)) }
    return this.#made.ports
  }
}

function seenOf(
  { id, endpoints, spillOver = [] }: BalancedPort,
  known: ReadonlyMap<string, EndpointLatency>,
  before: ReadonlyMap<string, number>,
): SeenPort {
  const seen = ({ ip, port }: Endpoint) => {
    const name = hostPort(ip, port)
    const { ms, failing = 0, tries = 0 } = known.get(name) ?? {}
    return { ms, failing, requests: Math.max(0, tries - (before.get(name) ?? 0)) }
  }
  return { servicePort: id, endpoints: endpoints.map(seen), spillOver: spillOver.map(seen) }
}
