/**
 * Service ports that left Envoy. Their configuration stays there until nothing uses it any more: removing it at once would
 * cut connections.
 */

export interface DrainOptions {
  /** How long connections may stay, in milliseconds. */
  readonly drainMs: number
  /** How often Envoy is asked what is going on, in milliseconds. */
  readonly intervalMs: number
  /** How long a port has to be quiet for no connection to be left, in milliseconds; an interval at least. */
  readonly quietMs: (id: string) => number
  /** What goes on at these ports, by id; undefined where Envoy does not answer. */
  readonly activity: (ids: readonly string[]) => Promise<ReadonlyMap<string, PortActivity> | undefined>
  /** The drain time is over: connections are to end as soon as they can. */
  readonly close: (id: string) => void
  /** Nothing keeps the port in Envoy any longer. */
  readonly finish: (id: string) => void
}

export interface PortActivity {
  /** Connections and requests. */
  readonly open: number
  /** Grows with every request. */
  readonly answers: number
}

interface Drain {
  /** When it began. */
  readonly since: number
  quietSince: number
  /** As of the last look. */
  answers: number | undefined
  /** When its connections were told to end. */
  closedAt: number | undefined
}

export class Drains {
  readonly #options: DrainOptions
  /** By port state id, in the order in which they began. */
  readonly #drains = new Map<string, Drain>()
  #timer: NodeJS.Timeout | undefined

  constructor(options: DrainOptions) {
    this.#options = options
  }

  start(id: string): void {
    const now = performance.now()
    if (!this.#drains.has(id))
      this.#drains.set(id, { since: now, quietSince: now, answers: undefined, closedAt: undefined })
    this.#timer ??= setTimeout(() => void this.#look(), this.#options.intervalMs)
  }

  /** The port is wanted in Envoy again. */
  cancel(id: string): void {
    this.#drains.delete(id)
  }

  has(id: string): boolean {
    return this.#drains.has(id)
  }

  /** Whether the port drains and its time is over. */
  isOver(id: string): boolean {
    return this.#drains.get(id)?.closedAt !== undefined
  }

  get size(): number {
    return this.#drains.size
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#drains.clear()
  }

  async #look(): Promise<void> {
    const { intervalMs, activity } = this.#options
    const ids = [...this.#drains.keys()]
    const found = await activity(ids)
    for (const id of ids) this.#step(id, found && (found.get(id) ?? { open: 0, answers: 0 }))
    this.#timer = this.#drains.size > 0 ? setTimeout(() => void this.#look(), intervalMs) : undefined
  }

  #step(id: string, found: PortActivity | undefined): void {
    const drain = this.#drains.get(id)
    if (!drain) return
    const now = performance.now()
    const before = drain.answers ?? found?.answers
    if (!found || found.open > 0 || found.answers !== before) drain.quietSince = now
    drain.answers = found?.answers ?? before
    const { drainMs, intervalMs, quietMs, close, finish } = this.#options
    // A connection made just before the port left may not be counted yet.
    const needed = Math.max(intervalMs, Math.min(quietMs(id), drainMs))
    if (now - drain.quietSince >= needed || now - (drain.closedAt ?? now) >= needed) {
      this.#drains.delete(id)
      finish(id)
    } else if (now - drain.since >= drainMs && drain.closedAt === undefined) {
      drain.closedAt = now
      close(id)
    }
  }
}
