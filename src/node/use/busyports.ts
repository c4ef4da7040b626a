/**
 * Tracks when ports were last at work in Envoy: with a connection that stays open, or requests on one. By new
 * connections alone, which the kernel reports, a port of long-lived ones would seem quiet.
 */

import type { FrontendActivity } from '../lifecycle/drains.ts'

/** Half of the time that a port may be quiet and stay in Envoy (quietMs). */
const everyMs = 30_000
/** An Envoy that has not answered for so long since the agent began is not there. */
const patienceMs = 10_000

/** Reads activity by id; undefined where Envoy does not answer. */
export type ReadActivity = (ids: readonly string[]) => Promise<ReadonlyMap<string, FrontendActivity> | undefined>

export class BusyPorts {
  readonly #activity: ReadActivity
  readonly #busyAt = new Map<string, number>()
  readonly #answers = new Map<string, number>()
  readonly #began = performance.now()
  /** When Envoy answered last. */
  #lookedAt: number | undefined

  constructor(activity: ReadActivity) {
    this.#activity = activity
  }

  /**
   * When each was last seen at work, by id, on the clock of `now`. Until Envoy has answered for the first time all of
   * them count as at work: a previous run of the agent may have left connections there.
   */
  async probe(ids: readonly string[], now: number): Promise<ReadonlyMap<string, number>> {
    if (this.#lookedAt === undefined || now - this.#lookedAt >= everyMs) await this.#ask(ids, now)
    if (this.#lookedAt === undefined && now - this.#began < patienceMs) return new Map(ids.map(id => [id, now]))
    return this.#busyAt
  }

  async #ask(ids: readonly string[], now: number): Promise<void> {
    const found = await this.#activity(ids)
    if (!found) return
    for (const known of [this.#busyAt, this.#answers])
      for (const id of known.keys()) if (!found.has(id)) known.delete(id)
    for (const [id, { open, answers }] of found) {
      // The first probe cannot tell when the answers were given.
      if (open > 0 || answers !== (this.#answers.get(id) ?? answers)) this.#busyAt.set(id, now)
      this.#answers.set(id, answers)
    }
    this.#lookedAt = now
  }
}
