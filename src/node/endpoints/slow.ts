/**
 * Ejects endpoints that take much longer to answer than their siblings, where the setting outlier-detection-slowness
 * asks for it. Envoy's module measures how long they take (envoy/program/latencies.ts).
 */

import type { EndpointLatency } from '../../envoy/program/latencies.ts'
import type { Frontend } from '../../envoy/resources/frontend.ts'
import { hostPort } from '../../net/address.ts'
import type { Endpoint } from '../../plan/ports/port.ts'
import { PeriodicTask } from '../tasks/periodictask.ts'

export interface SlowEndpointsOptions {
  /** The frontends in Envoy that have the setting. */
  readonly frontends: () => readonly Frontend[]
  /** Reads what is known of these endpoints, by `hostPort`. */
  readonly latencies: (endpoints: readonly Endpoint[]) => ReadonlyMap<string, EndpointLatency>
  /** Ejects as many of these as allowed, the first ones first. */
  readonly eject: (frontend: Frontend, slow: readonly Speed[]) => void
}

/** How an endpoint has answered since the last probe. */
export interface Speed {
  /** As `hostPort` writes it. */
  readonly endpoint: string
  readonly ms: number
  readonly tries: number
}

const intervalMs = 1000
/** How many probes in a row an endpoint has to be slow. */
const probesInARow = 3
/** Fewer tries do not show how fast it is now. */
const fewestTries = 5
/** An endpoint as fast as this is not slow, however many times faster its siblings are; milliseconds. */
const leastDifferenceMs = 10

export class SlowEndpoints {
  readonly #options: SlowEndpointsOptions
  readonly #task = new PeriodicTask(async () => this.#probe())
  /** Tries until the last probe, by id and endpoint. */
  #tries = new Map<string, number>()
  /** How many probes in a row an endpoint was slow. */
  #slow = new Map<string, number>()

  constructor(options: SlowEndpointsOptions) {
    this.#options = options
  }

  start(): void {
    this.#task.schedule(intervalMs)
  }

  async stop(): Promise<void> {
    await this.#task.stop()
  }

  #probe(): number {
    const [tries, slow] = [new Map<string, number>(), new Map<string, number>()]
    const frontends = this.#options.frontends()
    // All at once: the module's table is read as a whole.
    const known = this.#options.latencies(frontends.flatMap(({ endpoints }) => endpoints))
    for (const frontend of frontends) {
      const keyOf = (endpoint: string) => `${frontend.id} ${endpoint}`
      const speeds = frontend.endpoints.flatMap(({ ip, port }) => {
        const endpoint = hostPort(ip, port)
        const latency = known.get(endpoint)
        if (latency?.ms === undefined) return []
        tries.set(keyOf(endpoint), latency.tries)
        return [
          { endpoint, ms: latency.ms, tries: latency.tries - (this.#tries.get(keyOf(endpoint)) ?? latency.tries) },
        ]
      })
      const found = slowerThanSiblings(speeds, frontend.settings.outlierDetectionSlowness)
      for (const { endpoint } of found) slow.set(keyOf(endpoint), (this.#slow.get(keyOf(endpoint)) ?? 0) + 1)
      const lasting = found.filter(({ endpoint }) => slow.get(keyOf(endpoint))! >= probesInARow)
      if (lasting.length > 0) this.#options.eject(frontend, lasting)
    }
    this.#tries = tries
    this.#slow = slow
    return intervalMs
  }
}

/**
 * @param times how many times as slow as the others' median an endpoint has to be
 * @returns the slowest first
 */
export function slowerThanSiblings(speeds: readonly Speed[], times: number): readonly Speed[] {
  const byMs = speeds.filter(({ tries }) => tries >= fewestTries).sort((a, b) => a.ms - b.ms)
  // The median of the others: one further up for those that are not above it.
  const middle = Math.floor((byMs.length - 1) / 2)
  return byMs
    .filter(({ ms }, index) => {
      const usual = byMs[index > middle ? middle : middle + 1]?.ms
      return usual !== undefined && ms >= times * usual && ms - usual >= leastDifferenceMs
    })
    .reverse()
}
