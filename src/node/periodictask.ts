/** A task that is done again and again, one run at a time; each run says how long after it the next one is. */
export class PeriodicTask {
  /** Does the task once. Resolves to the milliseconds until the next run. */
  readonly #run: () => Promise<number>
  #timer: NodeJS.Timeout | undefined
  #running: Promise<void> | undefined
  #hasEnded = false

  constructor(run: () => Promise<number>) {
    this.#run = run
  }

  get isRunning(): boolean {
    return this.#running !== undefined
  }

  get hasEnded(): boolean {
    return this.#hasEnded
  }

  /** The next run is in so many milliseconds, whatever was planned. Not for while one runs: that plans the next itself. */
  schedule(ms: number): void {
    clearTimeout(this.#timer)
    if (this.#hasEnded) return
    this.#timer = setTimeout(() => {
      this.#running = this.#once()
    }, ms)
  }

  /** No run begins any more; the one under way goes on. */
  end(): void {
    this.#hasEnded = true
    clearTimeout(this.#timer)
  }

  /** Ends it, and waits for the run under way. */
  async stop(): Promise<void> {
    this.end()
    await this.#running
  }

  async #once(): Promise<void> {
    const pauseMs = await this.#run()
    this.#running = undefined
    this.schedule(pauseMs)
  }
}
