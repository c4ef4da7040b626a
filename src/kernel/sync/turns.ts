/** Work that takes long, in turns of the event loop, so that nothing else waits for all of it. */

import { setImmediate as nextTurn } from 'node:timers/promises'

/** So long a turn may take, in milliseconds, with what one step of the work takes beyond that. */
const turnMs = 8

export class Turns {
  #began = performance.now()

  /** Whether the turn has taken long enough: the work goes on in the next one. */
  get isOver(): boolean {
    return performance.now() - this.#began >= turnMs
  }

  async next(): Promise<void> {
    await nextTurn()
    this.#began = performance.now()
  }
}
