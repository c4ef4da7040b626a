/** Starts what may not start yet, such as a server whose port is taken: the rest of the agent works meanwhile. */

import type { Problem } from '../../services/problem.ts'

export interface RetryOptions<T> {
  readonly start: () => Promise<T>
  readonly everyMs: number
  readonly problem: (error: Error) => Problem
  /** Called with the current problems: one, or none once it has started. */
  readonly onProblems: (problems: readonly Problem[]) => void
  /** So many failures at the beginning are no problem yet. Default: 0. */
  readonly quietFailures?: number
}

export interface Retried<T> {
  /** What has started, so far. */
  readonly started: () => T | undefined
  /** Waits for a start that is under way, and begins no other. */
  stop(): Promise<T | undefined>
}

export function startRetrying<T>(options: RetryOptions<T>): Retried<T> {
  const { start, everyMs, problem, onProblems, quietFailures = 0 } = options
  let failures = 0
  let result: T | undefined
  let timer: NodeJS.Timeout | undefined
  let stopped = false

  const tryOnce = async () => {
    try {
      result = await start()
      onProblems([])
    } catch (error) {
      failures++
      if (failures > quietFailures) onProblems([problem(error as Error)])
      if (!stopped) timer = setTimeout(() => (attempt = tryOnce()), everyMs)
    }
  }
  let attempt = tryOnce()

  return {
    started: () => result,
    async stop() {
      stopped = true
      clearTimeout(timer)
      await attempt
      return result
    },
  }
}
