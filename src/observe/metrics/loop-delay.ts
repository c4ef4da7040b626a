/** Measures how long the event loop stands still: nothing else is served meanwhile. */

import { monitorEventLoopDelay } from 'node:perf_hooks'

/** Shorter delays do not show, and 50 ticks a second cost nothing that could be measured. */
const resolutionMs = 20

/** Begins at once. The function it returns gives the longest delay since its last call, in seconds. */
export function watchLoopDelay(): () => number {
  const intervals = monitorEventLoopDelay({ resolution: resolutionMs })
  intervals.enable()
  return () => {
    const longest = intervals.max / 1e9
    intervals.reset()
    return Math.max(0, longest - resolutionMs / 1000)
  }
}
