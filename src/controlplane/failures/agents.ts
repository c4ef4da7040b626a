/** Which nodes tell what they see, and which of them have gone silent. */

export class Agents {
  readonly #speaking = new Set<string>()
  readonly #silent = new Set<string>()
  /** When the first verdict was sent that a node has not answered, the longest waiting first. */
  readonly #waiting = new Map<string, number>()

  get speaking(): ReadonlySet<string> {
    return this.#speaking
  }

  get silent(): ReadonlySet<string> {
    return this.#silent
  }

  /** @returns whether it is not one of those that spoke until now */
  spoke(node: string): boolean {
    this.#waiting.delete(node)
    this.#silent.delete(node)
    if (this.#speaking.has(node)) return false
    this.#speaking.add(node)
    return true
  }

  told(node: string, now: number): void {
    if (!this.#waiting.has(node) && (this.#speaking.has(node) || this.#silent.has(node))) this.#waiting.set(node, now)
  }

  left(node: string): void {
    for (const all of [this.#speaking, this.#silent, this.#waiting]) all.delete(node)
  }

  /** @returns whether some are silent from now on, since they have not answered what they were told before this time */
  silence(before: number): boolean {
    const spoke = this.#speaking.size
    for (const [node, since] of this.#waiting) {
      if (since >= before) break
      if (this.#speaking.delete(node)) this.#silent.add(node)
    }
    return this.#speaking.size < spoke
  }
}
