/** Repeats a check, each time some time after the one before, and at once where there is reason to. */

export interface Repeated {
  /** Checks soon, but not more often than its share of the time allows. */
  soon(): void
  stop(): void
}

/** Reasons that come together are checked together. */
const soonMs = 20

/**
 * @param share how much of the time the check may take: one that takes long is made more seldom. Of two in a row the
 *   shorter counts: on a busy node each may have waited for a core, or for others on this thread.
 */
export function repeat(check: () => Promise<void>, everyMs: number, share: number): Repeated {
  let isStopped = false
  let isRunning = false
  let hasReason = false
  let timer: NodeJS.Timeout
  /** By performance.now(): not before. */
  let earliest = 0
  let took = Infinity
  const run = async () => {
    isRunning = true
    hasReason = false
    const began = performance.now()
    // Those who write with the same programs report why these do not run.
    await check().catch(() => {})
    isRunning = false
    const before = took
    took = performance.now() - began
    earliest = began + Math.min(took, before) / share
    wait(hasReason ? soonMs : everyMs)
  }
  const wait = (ms: number) => {
    clearTimeout(timer)
    if (!isStopped) timer = setTimeout(run, Math.max(ms, earliest - performance.now())).unref()
  }
  wait(everyMs)
  return {
    soon: () => {
      if (hasReason) return
      hasReason = true
      if (!isRunning) wait(soonMs)
    },
    stop: () => {
      isStopped = true
      clearTimeout(timer)
    },
  }
}
