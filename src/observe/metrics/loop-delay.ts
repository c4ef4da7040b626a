/** How long the event loop stands still: nothing else is served meanwhile. */

import { monitorEventLoopDelay } from 'node:perf_hooks'

/** Shorter delays are not told from none, and 50 looks a second cost nothing that could be measured. */
const resolutionMs = 20

/** Begins at once. What it returns says the longest delay, in seconds, since it was last asked. */
export function watchLoopDelay(): () => number {
  const intervals = monitorEventLoopDelay({ resolution: resolutionMs })
  intervals.enable()
  return () => {
    const longest = intervals.max / 1e9
    intervals.reset()
    return Math.max(0, longest - resolutionMs / 1000)
  }
}
