/** An endpoint in question: what nodes say of it, and which of them are asked. */

import { createHash } from 'node:crypto'
import { isUnreachable, type Observation } from '../../exclusions/observation.ts'
import type { Sight } from '../../facts/failures.ts'

/** How many nodes that may use an endpoint are asked about it at most. Half of so many are not cut off at once by chance. */
const mostAsked = 32

interface Ranked {
  readonly node: string
  readonly rank: string
}

/** Who is asked about an endpoint, and those of them that may use it. */
export interface Chosen {
  readonly asked: ReadonlySet<string>
  readonly users: ReadonlySet<string>
}

const nobody: Chosen = { asked: new Set(), users: new Set() }

export class Question {
  readonly endpoint: string
  /** The node that it is on, where that is known. */
  node: string | undefined
  readonly #said = new Map<string, Sight>()
  /** All nodes. */
  readonly #ranked: Ranked[] = []
  #chosen = nobody

  constructor(endpoint: string, node: string | undefined) {
    this.endpoint = endpoint
    this.node = node
  }

  get chosen(): Chosen {
    return this.#chosen
  }

  /** Ranks nodes by their names alone, so that each replica asks the same ones, and nobody chooses who is asked. */
  join(node: string): void {
    const rank = createHash('sha1').update(`${this.endpoint} ${node}`).digest('hex')
    this.#ranked.splice(this.#placeOf(rank), 0, { node, rank })
  }

  leave(node: string): void {
    this.#said.delete(node)
    const at = this.#ranked.findIndex(one => one.node === node)
    if (at >= 0) this.#ranked.splice(at, 1)
  }

  hear(node: string, sight: Sight | undefined): void {
    if (sight) this.#said.set(node, sight)
    else this.#said.delete(node)
  }

  /**
   * Chooses whom to ask. Who has said that it does not use the endpoint is asked on, beside the others: it may use it by
   * now, and forgets what it is not asked.
   */
  choose(speaking: ReadonlySet<string>): Chosen {
    const asked = new Set<string>()
    const users = new Set<string>()
    for (const { node } of this.#ranked) {
      if (users.size === mostAsked) break
      if (!speaking.has(node)) continue
      asked.add(node)
      if (this.#said.get(node)?.seen !== 'not used') users.add(node)
    }
    this.#chosen = { asked, users }
    return this.#chosen
  }

  /** What those see that are asked. */
  observations(): readonly Observation[] {
    return [...this.#chosen.users].flatMap(node => {
      const { seen, since = 0 } = this.#said.get(node) ?? {}
      const isNone = seen === undefined || seen === 'suspected' || seen === 'not used'
      return isNone ? [] : { node, endpoint: this.endpoint, seen, since }
    })
  }

  #placeOf(rank: string): number {
    let [from, to] = [0, this.#ranked.length]
    while (from < to) {
      const middle = (from + to) >> 1
      if (this.#ranked[middle]!.rank < rank) from = middle + 1
      else to = middle
    }
    return from
  }
}

/** Whether what a node says puts the endpoint in question. */
export function raisesQuestion(sight: Sight | undefined): boolean {
  return sight !== undefined && (sight.seen === 'suspected' || isUnreachable(sight.seen))
}
