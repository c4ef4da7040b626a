/**
 * Queues the work that a change makes, a part for each Service port. Small parts go before large ones, so that a
 * Service with thousands of endpoints holds up nobody else, and between slices of time everybody else has a turn.
 */

interface Entry<T> {
  readonly item: T
  readonly weight: number
}

/** Lighter work goes first. */
const smallWeight = 256
/** A slice ends with the part that reaches this weight, and the clock is read. */
const batchWeight = 2000
const sliceMs = 20

export class FairQueue<T> {
  readonly #work: (items: readonly T[]) => void
  readonly #small = new Map<string, Entry<T>>()
  readonly #large = new Map<string, Entry<T>>()
  #scheduled: NodeJS.Immediate | undefined

  constructor(work: (items: readonly T[]) => void) {
    this.#work = work
  }

  /**
   * Replaces the work queued for a port: only the last counts. Call `run` once everything that comes together is
   * queued.
   */
  add(id: string, item: T, weight: number): void {
    const [lane, other] = weight < smallWeight ? [this.#small, this.#large] : [this.#large, this.#small]
    other.delete(id)
    lane.set(id, { item, weight })
  }

  remove(id: string): void {
    this.#small.delete(id)
    this.#large.delete(id)
  }

  /** Works for a slice of time, and goes on by itself. Meanwhile small work is still done at once. */
  run(): void {
    const began = performance.now()
    while (this.#small.size > 0 || (this.#large.size > 0 && !this.#scheduled)) {
      this.#runBatch()
      if (performance.now() - began > sliceMs) break
    }
    if (this.#small.size + this.#large.size === 0 || this.#scheduled) return
    this.#scheduled = setImmediate(() => {
      this.#scheduled = undefined
      this.run()
    })
  }

  /** Does all of it now. */
  finish(): void {
    while (this.#small.size + this.#large.size > 0) this.#runBatch()
  }

  stop(): void {
    clearImmediate(this.#scheduled)
    this.#small.clear()
    this.#large.clear()
  }

  #runBatch(): void {
    const lane = this.#small.size > 0 ? this.#small : this.#large
    const items: T[] = []
    let sum = 0
    for (const [id, { item, weight }] of lane) {
      lane.delete(id)
      items.push(item)
      sum += weight
      if (sum >= batchWeight) break
    }
    this.#work(items)
  }
}
