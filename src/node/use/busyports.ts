/**
 * When ports were last at work in Envoy: with a connection that stays open, or requests on one. New connections alone, which the
 * kernel tells, would take a port of long-lived ones for quiet.
 */

import type { FrontendActivity } from '../lifecycle/drains.ts'

/** Half of what a port may be quiet for and keep its place (quietMs). */
const everyMs = 30_000
/** An Envoy that has not answered for so long since the agent began is not there. */
const patienceMs = 10_000

/** By id; undefined where Envoy does not answer. */
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
   * When each was last seen at work, by id, on the clock of `now`. Until Envoy has answered for the first time all of them are
   * taken to be: a run of the agent before this one may have left connections there.
   */
  async look(ids: readonly string[], now: number): Promise<ReadonlyMap<string, number>> {
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
      // The first look cannot tell when the answers were given.
      if (open > 0 || answers !== (this.#answers.get(id) ?? answers)) this.#busyAt.set(id, now)
      this.#answers.set(id, answers)
    }
    this.#lookedAt = now
  }
}
