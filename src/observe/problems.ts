/** All problems there are now. Each is logged once, when it appears, and once when it is over. */

import type { Problem, ProblemCode } from '../services/problem.ts'
import type { Log } from './log.ts'

export class ProblemRegistry {
  readonly #log: Log
  #onNew: (problem: Problem) => void = () => {}
  readonly #byOrigin = new Map<string, readonly Problem[]>()

  constructor(log: Log) {
    this.#log = log
  }

  /** This is told of each problem that appears from now on. */
  tell(onNew: (problem: Problem) => void): void {
    this.#onNew = onNew
  }

  /** Replaces what was said of this origin (an object, a file, a component). */
  set(origin: string, problems: readonly Problem[]): void {
    const before = this.#byOrigin.get(origin) ?? []
    if (problems.length === 0) this.#byOrigin.delete(origin)
    else this.#byOrigin.set(origin, problems)
    for (const found of missingIn(before, problems)) {
      const { code, object, reason, remedy } = found
      this.#log.warn({ code, object, reason, remedy }, 'problem')
      this.#onNew(found)
    }
    for (const { code, object, reason } of missingIn(problems, before)) {
      this.#log.info({ code, object, reason }, 'problem is over')
    }
  }

  all(): readonly Problem[] {
    return [...this.#byOrigin.values()].flat()
  }

  /** The problems of one object, such as `Service whoami/whoami`. */
  of(object: string): readonly Problem[] {
    return this.all().filter(problem => problem.object === object)
  }

  counts(): ReadonlyMap<ProblemCode, number> {
    const counts = new Map<ProblemCode, number>()
    for (const { code } of this.all()) counts.set(code, (counts.get(code) ?? 0) + 1)
    return counts
  }
}

function missingIn(known: readonly Problem[], problems: readonly Problem[]): readonly Problem[] {
  return problems.filter(problem => !known.some(other => same(other, problem)))
}

function same(a: Problem, b: Problem): boolean {
  return a.code === b.code && a.object === b.object && a.reason === b.reason
}
