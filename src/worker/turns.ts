/** Work that takes long, in turns of the event loop, so that nothing else waits for all of it. */

import { setImmediate as immediate } from 'node:timers/promises'

/** So long all such work of one turn may take, in milliseconds, with what one step takes beyond that. */
const turnMs = 4

/** When the work of this turn began, by performance.now(); undefined where there was none yet. */
let began: number | undefined

/** Counts the time of this turn from here, unless other work has begun in it: several works share the turn. */
export function beginWork(): void {
  if (began !== undefined) return
  began = performance.now()
  setImmediate(() => {
    began = undefined
  })
}

/** Whether the work of this turn has taken long enough: it goes on after `nextTurn`. */
export function isTurnOver(): boolean {
  beginWork()
  return performance.now() - began! >= turnMs
}

export async function nextTurn(): Promise<void> {
  await immediate()
}
