/**
 * Holds all current problems. Each is logged once when it appears, and once when it is over; one object has thirty
 * lines at once and thirty a minute, however often its problems change.
 */

import type { Problem, ProblemCode } from '../services/problem.ts'
import type { Log } from './log.ts'
import { Buckets } from './rates/buckets.ts'

const lines = { burst: 30, refillMs: 2000 }

/** By what tells a problem from others of its origin. */
type Known = ReadonlyMap<string, Problem>

const none: Known = new Map()

export class ProblemRegistry {
  readonly #log: Log
  #onNew: (problem: Problem) => void = () => {}
  readonly #byOrigin = new Map<string, Known>()
  /** The origins that have problems of an object. */
  readonly #originsOf = new Map<string, Set<string>>()
  readonly #counts = new Map<ProblemCode, number>()
  readonly #lines = new Buckets(lines)

  constructor(log: Log) {
    this.#log = log
  }

  /** Sets who gets each problem that appears from now on. */
  tell(onNew: (problem: Problem) => void): void {
    this.#onNew = onNew
  }

  /** Replaces the problems of this origin (an object, a file, a component). */
  set(origin: string, problems: readonly Problem[]): void {
    const before = this.#byOrigin.get(origin) ?? none
    if (before.size === 0 && problems.length === 0) return
    const after: Known = new Map(problems.map(found => [identityOf(found), found]))
    this.#index(origin, before, after)
    for (const [identity, found] of after) if (!before.has(identity)) this.#appeared(found)
    for (const [identity, found] of before) if (!after.has(identity)) this.#isOver(found)
  }

  all(): readonly Problem[] {
    return [...this.#byOrigin.values()].flatMap(known => [...known.values()])
  }

  /** The problems of one object, such as `Service whoami/whoami`. */
  of(object: string): readonly Problem[] {
    const origins = [...(this.#originsOf.get(object) ?? [])]
    const all = origins.flatMap(origin => [...(this.#byOrigin.get(origin) ?? none).values()])
    return all.filter(problem => problem.object === object)
  }

  counts(): ReadonlyMap<ProblemCode, number> {
    return this.#counts
  }

  #index(origin: string, before: Known, after: Known): void {
    if (after.size === 0) this.#byOrigin.delete(origin)
    else this.#byOrigin.set(origin, after)
    for (const { code, object } of before.values()) {
      this.#count(code, -1)
      const origins = this.#originsOf.get(object)
      if (origins?.delete(origin) && origins.size === 0) this.#originsOf.delete(object)
    }
    for (const { code, object } of after.values()) {
      this.#count(code, 1)
      const origins = this.#originsOf.get(object)
      if (origins) origins.add(origin)
      else this.#originsOf.set(object, new Set([origin]))
    }
  }

  #count(code: ProblemCode, by: number): void {
    const count = (this.#counts.get(code) ?? 0) + by
    if (count === 0) this.#counts.delete(code)
    else this.#counts.set(code, count)
  }

  #appeared(found: Problem): void {
    const { code, object, reason, remedy } = found
    this.#say('warn', { code, object, reason, remedy }, 'problem')
    this.#onNew(found)
  }

  #isOver({ code, object, reason }: Problem): void {
    this.#say('info', { code, object, reason }, 'problem is over')
  }

  #say(level: 'info' | 'warn', fields: Readonly<Record<string, string>>, message: string): void {
    const unsaid = this.#lines.take(fields.object!)
    if (unsaid !== undefined) this.#log[level](unsaid > 0 ? { ...fields, unsaid } : fields, message)
  }
}

function identityOf({ code, object, reason }: Problem): string {
  return JSON.stringify([code, object, reason])
}
