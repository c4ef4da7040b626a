/** Measures and logs for each port how long it takes from a change until a layer has it. */

import type { Log } from '../../../observe/log.ts'
import type { Metrics } from '../../../observe/metrics/metrics.ts'

export class Programming {
  readonly #metric: Metrics['programming']
  readonly #log: Log
  /** When the change of a port arrived that the kernel does not have yet, by port state id. */
  readonly #kernelAwaited = new Map<string, number>()

  constructor(metric: Metrics['programming'], log: Log) {
    this.#metric = metric
    this.#log = log
  }

  /** @param arrived by `performance.now()` */
  changed(port: string, arrived: number): void {
    this.#kernelAwaited.set(port, arrived)
  }

  /** The kernel layer has everything of these ports that it got until now. */
  kernelApplied(ports: Iterable<string>): void {
    const now = performance.now()
    const took: Record<string, number> = {}
    for (const port of ports) {
      const arrived = this.#kernelAwaited.get(port)
      if (arrived === undefined) continue
      this.#kernelAwaited.delete(port)
      took[port] = now - arrived
    }
    this.#programmed('kernel', took)
  }

  envoyHas(frontend: string, milliseconds: number): void {
    this.#programmed('envoy', { [frontend]: milliseconds })
  }

  /** One log line for all: a Service may have thousands of ports. */
  #programmed(layer: 'envoy' | 'kernel', milliseconds: Readonly<Record<string, number>>): void {
    const each = Object.values(milliseconds)
    for (const one of each) this.#metric.observe({ layer }, one / 1000)
    if (each.length > 0) this.#log.debug({ layer, milliseconds }, 'programmed')
  }
}
