/**
 * Releases Services that another proxy takes over. The kernel layer serves each until that proxy has surely heard of
 * it: kube-proxy gathers changes for a second, and writes for seconds on large clusters.
 */

const handoverMs = 10_000

export class Handovers {
  readonly #release: (service: string) => void
  readonly #timers = new Map<string, NodeJS.Timeout>()

  /** @param release called with `namespace/name` when the time of a Service is over */
  constructor(release: (service: string) => void) {
    this.#release = release
  }

  /** @param service `namespace/name`; its time begins anew where it has begun */
  begin(service: string): void {
    clearTimeout(this.#timers.get(service))
    const timer = setTimeout(() => {
      this.#timers.delete(service)
      this.#release(service)
    }, handoverMs)
    this.#timers.set(service, timer.unref())
  }

  /** Stops: nothing is released any more. */
  stop(): void {
    for (const timer of this.#timers.values()) clearTimeout(timer)
  }
}
