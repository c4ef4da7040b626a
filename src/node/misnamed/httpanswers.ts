/**
 * Knows which ports have answered HTTP. One reading of Envoy's statistics serves all ports that are asked about
 * meanwhile, since it is a page with all of them, and anybody who connects may have the agent ask.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import type { Activity } from '../../envoy/program/admin.ts'
import { externalId } from '../../envoy/resources/frontend.ts'

type Reading = Promise<Activity | undefined>

/** What Envoy answers itself where an endpoint speaks no HTTP is 5xx. */
const ofEndpoints = [1, 2, 3, 4]
const defaultEveryMs = 5000

export class HttpAnswers {
  readonly #read: () => Reading
  readonly #everyMs: number
  #next: Reading | undefined
  #readAt = -Infinity

  /** @param everyMs how long after the last reading the next one begins at the earliest */
  constructor(read: () => Reading, everyMs = defaultEveryMs) {
    this.#read = read
    this.#everyMs = everyMs
  }

  /**
   * Whether the port has answered a request of HTTP since Envoy knows it, by its VIP or an external address; undefined
   * where Envoy does not answer.
   */
  async has(port: string): Promise<boolean | undefined> {
    this.#next ??= this.#readInTurn()
    const activity = await this.#next
    return activity && [port, externalId(port)].some(id => activity.answers(id, ofEndpoints) > 0)
  }

  async #readInTurn(): Reading {
    const waitMs = Math.max(0, this.#readAt + this.#everyMs - performance.now())
    await sleep(waitMs, undefined, { ref: false })
    // Whoever asks from now on wants to know what happened until now.
    this.#next = undefined
    this.#readAt = performance.now()
    return this.#read()
  }
}
