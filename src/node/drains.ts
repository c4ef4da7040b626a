/**
 * Service ports that left Envoy. Their configuration stays there until their connections are gone or the drain time has
 * passed: removing it at once would cut them.
 */

export interface DrainOptions {
  /** How long connections may stay, in milliseconds. */
  readonly drainMs: number
  /** How often Envoy is asked for its connections, in milliseconds. */
  readonly intervalMs: number
  /** Open connections of these Service ports, by id; undefined where Envoy does not answer. */
  readonly connections: (ids: readonly string[]) => Promise<ReadonlyMap<string, number> | undefined>
  /** Nothing keeps the port in Envoy any longer. */
  readonly finish: (id: string) => void
}

export class Drains {
  readonly #options: DrainOptions
  /** When each drain began, by port state id, in that order. */
  readonly #since = new Map<string, number>()
  #timer: NodeJS.Timeout | undefined

  constructor(options: DrainOptions) {
    this.#options = options
  }

  start(id: string): void {
    if (!this.#since.has(id)) this.#since.set(id, performance.now())
    this.#timer ??= setTimeout(() => void this.#look(), this.#options.intervalMs)
  }

  /** The port is wanted in Envoy again, or its place there is taken by another. */
  cancel(id: string): void {
    this.#since.delete(id)
  }

  has(id: string): boolean {
    return this.#since.has(id)
  }

  get size(): number {
    return this.#since.size
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#since.clear()
  }

  async #look(): Promise<void> {
    const { drainMs, intervalMs, connections, finish } = this.#options
    // A connection made just before the port left may not be counted yet: each drain lasts an interval at least.
    const now = performance.now()
    const ids = [...this.#since].filter(([, since]) => now - since >= intervalMs).map(([id]) => id)
    const open = ids.length > 0 ? await connections(ids) : undefined
    for (const id of ids) {
      const age = this.#age(id)
      const idle = open !== undefined && (open.get(id) ?? 0) === 0
      if (age === undefined || (!idle && age < drainMs)) continue
      this.#since.delete(id)
      finish(id)
    }
    this.#timer = this.#since.size > 0 ? setTimeout(() => void this.#look(), intervalMs) : undefined
  }

  #age(id: string): number | undefined {
    const since = this.#since.get(id)
    return since === undefined ? undefined : performance.now() - since
  }
}
