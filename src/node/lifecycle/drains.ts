/**
 * Frontends that leave Envoy. Their configuration stays there until nothing uses it any more: removing it at once would
 * cut connections.
 *
 * Connections are told to end by routes that cost Envoy 0.26 MB (envoy/protocols/httpdrain.ts), so few frontends of a
 * namespace close at a time; others wait for them, with their connections as they are.
 */

import { namespaceOf } from '../../plan/ports/port.ts'
import type { Lifecycle } from './lifecycle.ts'

export interface DrainOptions {
  /** How long connections may stay, in milliseconds. */
  readonly drainMs: number
  /** How often Envoy is asked what is going on, in milliseconds. */
  readonly intervalMs: number
  /** How long a frontend has to be quiet for no connection to be left, in milliseconds; an interval at least. */
  readonly quietMs: (id: string) => number
  /** What goes on at these frontends, by id; undefined where Envoy does not answer. */
  readonly activity: (ids: readonly string[]) => Promise<ReadonlyMap<string, FrontendActivity> | undefined>
  /** Connections are to end as soon as they can, since the drain time is over. */
  readonly close: (life: Lifecycle) => void
  /** Nothing keeps the frontend in Envoy any longer. */
  readonly finish: (life: Lifecycle) => void
}

export interface FrontendActivity {
  /** Connections and requests. */
  readonly open: number
  /** Grows with every request. */
  readonly answers: number
}

/** In a namespace. */
const mostClosing = 20

const nothingOpen: FrontendActivity = { open: 0, answers: 0 }

export class Drains {
  readonly #options: DrainOptions
  /** In the order in which they began. */
  readonly #draining = new Set<Lifecycle>()
  /** How many are closing, by namespace. */
  readonly #closing = new Map<string, number>()
  #timer: NodeJS.Timeout | undefined

  constructor(options: DrainOptions) {
    this.#options = options
  }

  /** The frontend is draining from now on. */
  start(life: Lifecycle): void {
    const now = performance.now()
    life.drain = { since: now, quietSince: now, answers: undefined, closedAt: undefined }
    this.#draining.add(life)
    this.#timer ??= setTimeout(() => void this.#ask(), this.#options.intervalMs)
  }

  /** The frontend is wanted in Envoy again. */
  cancel(life: Lifecycle): void {
    this.#leave(life)
    life.on('wanted')
  }

  /** Its connections are to end now, since they can only fail. Returns whether they do. */
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
    // The first answer cannot tell whether there was a request since the frontend left.
    if (!found || found.open > 0 || found.answers !== drain.answers) drain.quietSince = now
    drain.answers = found?.answers ?? drain.answers
    const { drainMs, intervalMs, quietMs, close, finish } = this.#options
    // A connection made just before the frontend left may not be counted yet.
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

  /** How many of the frontend's namespace are closing, `more` of them from now on. */
  #countClosing({ id }: Lifecycle, more: number): number {
    const namespace = namespaceOf(id)
    const count = (this.#closing.get(namespace) ?? 0) + more
    if (count > 0) this.#closing.set(namespace, count)
    else this.#closing.delete(namespace)
    return count
  }
}
