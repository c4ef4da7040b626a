/** Keeps the last lines of something endless, such as a log, for whoever asks later. */
export class RecentLines {
  readonly #most: number
  readonly #lines: string[] = []

  /** @param most how many lines are kept; beyond them the oldest goes */
  constructor(most: number) {
    this.#most = most
  }

  /** A very long line is cut. */
  add(line: string): void {
    this.#lines.push(line.trimEnd().slice(0, longestLine))
    if (this.#lines.length > this.#most) this.#lines.shift()
  }

  /** The oldest first, each ended by a newline. */
  text(): string {
    return this.#lines.map(line => `${line}\n`).join('')
  }
}

const longestLine = 4096
