/**
 * Drains demoted frontends. Envoy keeps their configuration until nothing uses it any more: removing it at once would
 * cut connections.
 *
 * Routes that end connections cost Envoy 0.26 MB (envoy/protocols/httpdrain.ts), so few frontends of a namespace close
 * at a time; others wait for them, with their connections as they are.
 */

import { namespaceOf } from '../../plan/ports/port.ts'
import type { Lifecycle } from './lifecycle.ts'

export interface DrainOptions {
  /** How long connections may stay, in milliseconds. */
  readonly drainMs: number
  /** How often Envoy is asked for activity, in milliseconds. */
  readonly intervalMs: number
  /** How long a frontend has to be quiet to count as without connections, in milliseconds; an interval at least. */
  readonly quietMs: (id: string) => number
  /** Reads the activity at these frontends, by id; undefined where Envoy does not answer. */
  readonly activity: (ids: readonly string[]) => Promise<ReadonlyMap<string, FrontendActivity> | undefined>
  /** Connections are to end as soon as they can, since the drain time is over. */
  readonly close: (life: Lifecycle) => void
  /** Nothing keeps the frontend in Envoy any longer. */
  readonly finish: (life: Lifecycle) => void
}

export interface FrontendActivity {
  /** Open connections and requests. */
  readonly open: number
  /** Grows with every request. */
  readonly answers: number
}

/** How many of a namespace may be closing. */
const mostClosing = 20

const nothingOpen: FrontendActivity = { open: 0, answers: 0 }

export class Drains {
  readonly #options: DrainOptions
  /** In the order in which they began to drain. */
  readonly #draining = new Set<Lifecycle>()
  /** How many are closing, by namespace. */
  readonly #closing = new Map<string, number>()
  #timer: NodeJS.Timeout | undefined

  constructor(options: DrainOptions) {
    this.#options = options
  }

  /** Starts the drain of a frontend. */
  start(life: Lifecycle): void {
    const now = performance.now()
    life.drain = { since: now, quietSince: now, answers: undefined, closedAt: undefined }
    this.#draining.add(life)
    this.#timer ??= setTimeout(() => void this.#ask(), this.#options.intervalMs)
  }

  /** Cancels the drain: the frontend is wanted in Envoy again. */
  cancel(life: Lifecycle): void {
    this.#leave(life)
    life.on('wanted')
  }

  /** Closes the frontend: its connections can only fail. Returns whether they end now. */
  close(life: Lifecycle): boolean {
    if (life.state === 'closing') return true
    if (this.#countClosing(life, 0) >= mostClosing || !life.on('closed')) return false
    this.#countClosing(life, 1)
    return true
  }

  get size(): number {
    return this.#draining.size
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#draining.clear()
  }

  async #ask(): Promise<void> {
    const { intervalMs, activity } = this.#options
    const asked = [...this.#draining]
    const found = await activity(asked.map(({ id }) => id))
    for (const life of asked) this.#step(life, found && (found.get(life.id) ?? nothingOpen))
    this.#timer = this.#draining.size > 0 ? setTimeout(() => void this.#ask(), intervalMs) : undefined
  }

  #step(life: Lifecycle, found: FrontendActivity | undefined): void {
    const { drain } = life
    if (!drain || !this.#draining.has(life)) return
    const now = performance.now()
    // The first answer cannot tell whether there was a request since the frontend was demoted.
    if (!found || found.open > 0 || found.answers !== drain.answers) drain.quietSince = now
    drain.answers = found?.answers ?? drain.answers
    const { drainMs, intervalMs, quietMs, close, finish } = this.#options
    // A connection made just before the demotion may not be counted yet.
    const needed = Math.max(intervalMs, Math.min(quietMs(life.id), drainMs))
    if (now - drain.quietSince >= needed || now - (drain.closedAt ?? now) >= needed) {
      this.#leave(life)
      life.on('quiet')
      finish(life)
    } else if (now - drain.since >= drainMs && drain.closedAt === undefined && this.close(life)) {
      drain.closedAt = now
      close(life)
    }
  }

  #leave(life: Lifecycle): void {
    if (life.state === 'closing') this.#countClosing(life, -1)
    this.#draining.delete(life)
    life.drain = undefined
  }

  /** Counts how many of the frontend's namespace are closing, `more` of them from now on. */
  #countClosing({ id }: Lifecycle, more: number): number {
    const namespace = namespaceOf(id)
    const count = (this.#closing.get(namespace) ?? 0) + more
    if (count > 0) this.#closing.set(namespace, count)
    else this.#closing.delete(namespace)
    return count
  }
}
