/** Cuts long work into slices: it stops every few milliseconds so that the rest of the process has its turn. */

import { setImmediate } from 'node:timers/promises'

const sliceMs = 4

export class Turn {
  #began = performance.now()

  /** Gives way when the slice is over. Await it often; it costs nothing while the slice lasts. */
  async give(): Promise<void> {
    if (performance.now() - this.#began < sliceMs) return
    await setImmediate()
    this.#began = performance.now()
  }
}
