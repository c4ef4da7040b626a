/** Repeats a check, each time some time after the one before, and at once where there is reason to. */

export interface Repeated {
  /** Checks soon, but not more often than its share of the time allows. */
  soon(): void
  stop(): void
}

/** Reasons that come together are checked together. */
const soonMs = 20

/**
 * @param everyMs the time from the end of one check to the next
 * @param share how much of the time the check may take: one that takes long is made more seldom. Of two in a row the
 *   shorter counts: on a busy node each may have waited for a core, or for others on this thread.
 * @param inStep whether it checks at multiples of `everyMs` instead, so that what follows from checks comes in step, too
 */
export function repeat(check: () => Promise<void>, everyMs: number, share: number, inStep = false): Repeated {
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
    wait(hasReason ? soonMs : pauseMs())
  }
  const pauseMs = () => {
    if (!inStep) return everyMs
    const now = performance.now()
    // Half a step at least, since a timer may end a little before the step that it was for.
    return Math.ceil(Math.max(now + everyMs / 2, earliest) / everyMs) * everyMs - now
  }
  const wait = (ms: number) => {
    clearTimeout(timer)
    if (!isStopped) timer = setTimeout(run, Math.max(ms, earliest - performance.now())).unref()
  }
  wait(pauseMs())
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
