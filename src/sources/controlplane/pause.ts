/** Says how long an agent waits until it asks for the next stream. */

import type { Backoff } from '../watch/backoff.ts'

/** Agents whose stream ends at the same moment come back within this time. */
const spreadMs = 1000
/** A stream that served for so long went well, whatever ended it. */
const steadyMs = 5000

/** @param servedMs how long the last stream served after it had told everything; undefined where none did */
export function pauseMs(servedMs: number | undefined, backoff: Backoff): number {
  if (servedMs === undefined || servedMs < steadyMs) return backoff.next()
  backoff.reset()
  return Math.random() * spreadMs
}
