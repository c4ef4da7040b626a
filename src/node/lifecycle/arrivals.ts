/** Measures how long changes take: from their arrival until Envoy has acknowledged the resources that they changed. */

import { type ResourceRef, refKey } from '../../envoy/resource.ts'

export class Arrivals {
  /** Arrivals by performance.now(), by type and name. */
  readonly #arrivals = new Map<string, number>()

  /** @param arrived undefined where nobody asks how long the change takes */
  publish(refs: readonly ResourceRef[], arrived: number | undefined): void {
    if (arrived === undefined) return
    for (const ref of refs) this.#arrivals.set(refKey(ref), arrived)
  }

  /** Nobody waits for these any more. */
  forget(refs: readonly ResourceRef[]): void {
    for (const ref of refs) this.#arrivals.delete(refKey(ref))
  }

  /** Returns, once, the milliseconds since the change arrived; undefined where none is waited for. */
  take(ref: ResourceRef): number | undefined {
    const key = refKey(ref)
    const arrived = this.#arrivals.get(key)
    this.#arrivals.delete(key)
    return arrived === undefined ? undefined : performance.now() - arrived
  }
}
