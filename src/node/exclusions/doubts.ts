/**
 * Decides which endpoints answer no new connections, by what conntrack has of these: an endpoint is doubted while several
 * have begun to it without an answer. It is suspected when several more have, and not one that began since the doubt was
 * answered, and no older one has heard from it. So lost packets are no reason, nor is a full backlog that takes some between two
 * looks. One that takes none for longer is suspected, and a connection to it tells (`reachability.ts`). No I/O and no clock.
 */

export interface BegunConnection {
  /** No other connection has it. */
  readonly id: number
  /** As `hostPort` writes it. */
  readonly endpoint: string
}

/** What an endpoint has answered. */
export interface Answers {
  /** Connections, by id. */
  readonly connections: ReadonlySet<number>
  /** When one of the node's own last heard from it; -Infinity where none did. */
  readonly heardAt: number
}

interface Doubt {
  readonly since: number
  readonly answered: ReadonlySet<number>
}

const several = 3
/** What began earlier says nothing any more: conntrack keeps what clients have given up for two minutes. */
const recentMs = 10_000
/** For so long after an endpoint has been doubted it is soon known whether it answers, where clients go on to connect to it. */
const urgentMs = 1500
/** After a doubt has ended, so that clients whose packets a policy drops cost little. */
const restMs = 5000
/** For each conntrack is searched twice. */
const mostDoubts = 4

export class Doubts {
  /** Since when each connection is known to have no answer. */
  #begun: ReadonlyMap<number, number> = new Map()
  readonly #doubts = new Map<string, Doubt>()
  /** Until when an endpoint is not doubted again. */
  readonly #rests = new Map<string, number>()

  /**
   * Takes all connections that have no answer now. Returns endpoints of which `judge` has to know what they have answered.
   */
  saw(begun: readonly BegunConnection[], maySuspect: (endpoint: string) => boolean, now: number): readonly string[] {
    this.#forget(now)
    this.#begun = new Map(begun.map(({ id }) => [id, this.#begun.get(id) ?? now]))
    const asked: string[] = []
    let room = mostDoubts - this.#doubts.size
    for (const [endpoint, connections] of Map.groupBy(begun, one => one.endpoint)) {
      const times = connections.map(({ id }) => this.#begun.get(id)!)
      const doubt = this.#doubts.get(endpoint)
      if (doubt) {
        // One that gets its answer in a moment has it when `judge` takes the answers.
        if (times.filter(time => time > doubt.since).length >= several) asked.push(endpoint)
      } else if (room > 0 && !this.#rests.has(endpoint)) {
        if (times.filter(time => time > now - recentMs).length < several || !maySuspect(endpoint)) continue
        asked.push(endpoint)
        room--
      }
    }
    return asked
  }

  /** Whether the next look at all connections should come soon. */
  areUrgent(now: number): boolean {
    return [...this.#doubts.values()].some(({ since }) => since > now - urgentMs)
  }

  /** Takes what the endpoint has answered until now. Returns whether it is suspected. */
  judge(endpoint: string, { connections, heardAt }: Answers, now: number): boolean {
    const doubt = this.#doubts.get(endpoint)
    if (!doubt) {
      this.#doubts.set(endpoint, { since: now, answered: connections })
      return false
    }
    this.#doubts.delete(endpoint)
    this.#rests.set(endpoint, now + restMs)
    return heardAt <= doubt.since && [...connections].every(id => doubt.answered.has(id))
  }

  #forget(now: number): void {
    for (const [endpoint, until] of this.#rests) if (until <= now) this.#rests.delete(endpoint)
    for (const [endpoint, { since }] of this.#doubts) if (since <= now - recentMs) this.#doubts.delete(endpoint)
  }
}
