/** A task that repeats, one run at a time; each run says how long after it the next one is. */
export class PeriodicTask {
  /** Runs the task once. Resolves to the milliseconds until the next run. */
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

  /**
   * Sets the next run in so many milliseconds, whatever was planned. Not while one runs: that run plans the next
   * itself.
   */
  schedule(ms: number): void {
    clearTimeout(this.#timer)
    if (this.#hasEnded) return
    this.#timer = setTimeout(() => {
      this.#running = this.#once()
    }, ms)
  }

  /** Starts no further run; the one under way goes on. */
  end(): void {
    this.#hasEnded = true
    clearTimeout(this.#timer)
  }

  /** Ends the task, and waits for the run under way. */
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
