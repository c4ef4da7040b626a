/** Long work in one process with everything else: it stops every few milliseconds so that others have their turn. */

import { setImmediate } from 'node:timers/promises'

const sliceMs = 4

export class Turn {
  #began = performance.now()

  /** To be awaited often; costs nothing while the slice of time lasts. */
  async give(): Promise<void> {
    if (performance.now() - this.#began < sliceMs) return
    await setImmediate()
    this.#began = performance.now()
  }
}
