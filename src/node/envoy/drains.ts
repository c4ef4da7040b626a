/**
 * Service ports that left Envoy. Their configuration stays there until nothing uses it any more: removing it at once would
 * cut connections.
 *
 * Connections are told to end by routes that cost Envoy 0.26 MB (envoy/protocols/httpleave.ts), so few ports of a namespace do
 * so at a time; others wait for them, with their connections as they are.
 */

import { namespaceOf } from '../../plan/ports/port.ts'

export interface DrainOptions {
  /** How long connections may stay, in milliseconds. */
  readonly drainMs: number
  /** How often Envoy is asked what is going on, in milliseconds. */
  readonly intervalMs: number
  /** How long a port has to be quiet for no connection to be left, in milliseconds; an interval at least. */
  readonly quietMs: (id: string) => number
  /** What goes on at these ports, by id; undefined where Envoy does not answer. */
  readonly activity: (ids: readonly string[]) => Promise<ReadonlyMap<string, PortActivity> | undefined>
  /** Connections are to end as soon as they can, since the drain time is over. */
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
  /** Its connections are told to end. */
  ending: boolean
  /** When they were, since the drain time was over. */
  closedAt: number | undefined
}

/** In a namespace. */
const mostEnding = 20

export class Drains {
  readonly #options: DrainOptions
  /** By port state id, in the order in which they began. */
  readonly #drains = new Map<string, Drain>()
  /** How many are ending, by namespace. */
  readonly #ending = new Map<string, number>()
  #timer: NodeJS.Timeout | undefined

  constructor(options: DrainOptions) {
    this.#options = options
  }

  start(id: string): void {
    const now = performance.now()
    if (!this.#drains.has(id))
      this.#drains.set(id, { since: now, quietSince: now, answers: undefined, ending: false, closedAt: undefined })
    this.#timer ??= setTimeout(() => void this.#look(), this.#options.intervalMs)
  }

  /** The port is wanted in Envoy again. */
  cancel(id: string): void {
    if (this.#drains.get(id)?.ending) this.#countEnding(id, -1)
    this.#drains.delete(id)
  }

  has(id: string): boolean {
    return this.#drains.has(id)
  }

  /** Whether connections of the port, which drains, are to end after their next answer. */
  isEnding(id: string): boolean {
    return this.#drains.get(id)?.ending ?? false
  }

  /** They are to end now, since they can only fail. Returns whether they do. */
  end(id: string): boolean {
    const drain = this.#drains.get(id)
    if (!drain) return false
    if (!drain.ending && this.#countEnding(id, 0) < mostEnding) {
      drain.ending = true
      this.#countEnding(id, 1)
    }
    return drain.ending
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
    // The first look cannot tell whether there was an answer since the port left.
    if (!found || found.open > 0 || found.answers !== drain.answers) drain.quietSince = now
    drain.answers = found?.answers ?? drain.answers
    const { drainMs, intervalMs, quietMs, close, finish } = this.#options
    // A connection made just before the port left may not be counted yet.
    const needed = Math.max(intervalMs, Math.min(quietMs(id), drainMs))
    if (now - drain.quietSince >= needed || now - (drain.closedAt ?? now) >= needed) {
      this.cancel(id)
      finish(id)
    } else if (now - drain.since >= drainMs && drain.closedAt === undefined && this.end(id)) {
      drain.closedAt = now
      close(id)
    }
  }

  /** How many of the port's namespace are ending, `more` of them from now on. */
  #countEnding(id: string, more: number): number {
    const namespace = namespaceOf(id)
    const count = (this.#ending.get(namespace) ?? 0) + more
    if (count > 0) this.#ending.set(namespace, count)
    else this.#ending.delete(namespace)
    return count
  }
}
