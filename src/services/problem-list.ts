/**
 * Collects what is wrong with one object, bounded: it may have thousands of broken pieces, all for one reason, and a
 * few of them show it.
 */

import { type Problem, type ProblemCode, problem } from './problem.ts'

const mostProblems = 10

const noProblems: readonly Problem[] = Object.freeze([])

export class ProblemList {
  readonly #object: string
  readonly #problems: Problem[] = []
  #more = 0
  #last: (() => Problem) | undefined

  constructor(object: string) {
    this.#object = object
  }

  add(code: ProblemCode, reason: string, remedy: string): void {
    this.addMade(() => problem(code, this.#object, reason, remedy))
  }

  /** @param make is called where the problem is reported: for texts that take time to make */
  addMade(make: () => Problem): void {
    if (this.#problems.length < mostProblems) this.#problems.push(make())
    else {
      this.#more++
      this.#last = make
    }
  }

  /** Returns the first ten, and how many more there are. */
  all(): readonly Problem[] {
    if (this.#problems.length === 0) return noProblems
    if (!this.#last) return this.#problems
    const last = this.#last()
    return [...this.#problems, { ...last, reason: `${this.#more} more such problems, the last: ${last.reason}` }]
  }
}
