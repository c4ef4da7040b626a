/**
 * Passes lists on one after the other, each in its order. A long list goes in parts, one in each turn of the event
 * loop. So a Service with thousands of ports holds nobody up, and nothing overtakes what came before it.
 */

type Take<T> = (part: readonly T[], isLast: boolean) => void

interface Waiting<T> {
  readonly items: readonly T[]
  readonly take: Take<T>
}

export class InParts<T> {
  readonly #mostATurn: number
  readonly #waiting: Waiting<T>[] = []
  /** How many items of the first list were taken. */
  #taken = 0
  #left: number
  #turn: NodeJS.Immediate | undefined

  constructor(mostATurn: number) {
    this.#mostATurn = mostATurn
    this.#left = mostATurn
  }

  /** Calls `take` at once, as far as nothing waits and the turn has room: once where the list is empty. */
  add(items: readonly T[], take: Take<T>): void {
    this.#waiting.push({ items, take })
    this.#run()
  }

  stop(): void {
    clearImmediate(this.#turn)
    this.#waiting.length = 0
  }

  #run(): void {
    while (this.#waiting.length > 0 && this.#left > 0) {
      const { items, take } = this.#waiting[0]!
      const part = items.slice(this.#taken, this.#taken + this.#left)
      this.#taken += part.length
      this.#left -= part.length
      const isLast = this.#taken === items.length
      if (isLast) {
        this.#waiting.shift()
        this.#taken = 0
      }
      take(part, isLast)
    }
    if (this.#left < this.#mostATurn) this.#turn ??= setImmediate(() => this.#next())
  }

  #next(): void {
    this.#turn = undefined
    this.#left = this.#mostATurn
    this.#run()
  }
}
