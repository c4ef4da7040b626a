/**
 * Collects what nodes see of endpoints, asks the others about them, and has it judged. As long as nobody suspects an
 * endpoint, nobody is asked and nothing is sent. No I/O: whoever holds the streams passes the time.
 */

import { createHash } from 'node:crypto'
import type { Exclusion } from '../../exclusions/exclusion.ts'
import { judge } from '../../exclusions/judge.ts'
import type { Observation } from '../../exclusions/observation.ts'
import type { NodeReport, Sight, Verdict } from '../../facts/failures.ts'
import type { ReadyEndpoints } from './readyendpoints.ts'

export type FailureTimes = typeof usualTimes

const usualTimes = {
  /** An agent that answers a verdict later is silent. */
  answerMs: 1500,
  /** Exclusions hold so long without another verdict: an agent finds another replica meanwhile. */
  validMs: 20_000,
  /** How long agents may take to come, and to say what they see, until exclusions are said. */
  settleMs: 5000,
  /** How often nodes are asked again while anything is in question. */
  askMs: 1000,
}

/** How many nodes that may use an endpoint are asked about it at most. Half of so many are not cut off at once by chance. */
const mostAsked = 32
/** How many endpoints a node may speak of: as many as are on two nodes, and as many that it is asked about and does not use. */
const mostSights = 512
const longestEndpoint = '[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535'.length

interface Agent {
  sights: ReadonlyMap<string, Sight>
  /** When the first verdict was sent that it has not answered. */
  waitsSince: number | undefined
}

/** Who is asked about an endpoint, and those of them that may use it. */
interface Chosen {
  readonly asked: readonly string[]
  readonly users: ReadonlySet<string>
}

export class Failures {
  readonly #ready: Pick<ReadyEndpoints, 'find'>
  readonly times: FailureTimes
  readonly #agents = new Map<string, Agent>()
  #began: number | undefined
  #exclusions: readonly Exclusion[] = []
  /** By node. */
  #asked: ReadonlyMap<string, readonly string[]> = new Map()

  constructor(ready: Pick<ReadyEndpoints, 'find'>, times: FailureTimes = usualTimes) {
    this.#ready = ready
    this.times = times
  }

  get exclusions(): readonly Exclusion[] {
    return this.#exclusions
  }

  /** Whether agents are to hear verdicts, and to answer. */
  get isInQuestion(): boolean {
    return this.#asked.size > 0 || this.#exclusions.length > 0
  }

  /** @param now by performance.now() */
  report({ node, sights }: NodeReport, now: number): void {
    this.#began ??= now
    const known = sights.filter(({ endpoint }) => endpoint.length <= longestEndpoint).slice(0, mostSights)
    const byEndpoint = new Map(known.map(sight => [sight.endpoint, sight]))
    this.#agents.set(node, { sights: byEndpoint, waitsSince: undefined })
  }

  /** Its stream has ended: a node that is gone has no part any more, and no voice. */
  left(node: string): void {
    this.#agents.delete(node)
  }

  /** Returns what the node is to be told now, which it has to answer. */
  verdictFor(node: string, now: number): Verdict {
    const agent = this.#agents.get(node)
    if (agent) agent.waitsSince ??= now
    const isSettled = this.#began !== undefined && now - this.#began >= this.times.settleMs
    const exclusions = isSettled ? this.#exclusions : undefined
    return { exclusions, validMs: this.times.validMs, asked: this.#asked.get(node) ?? [] }
  }

  /**
   * Judges again.
   * @param now by performance.now()
   * @param time milliseconds since the epoch
   * @returns whether agents have to hear of it
   */
  review(now: number, time: number): boolean {
    const silent = new Set<string>()
    const speaking = new Set<string>()
    for (const [node, { waitsSince }] of this.#agents) {
      const isSilent = waitsSince !== undefined && now - waitsSince > this.times.answerMs
      ;(isSilent ? silent : speaking).add(node)
    }
    const ready = [...this.#suspects(speaking)].map(endpoint => [endpoint, this.#ready.find(endpoint)] as const)
    const nodeOf = new Map(ready.flatMap(([endpoint, found]) => (found ? [[endpoint, found.node] as const] : [])))
    const chosen = new Map([...nodeOf.keys()].map(endpoint => [endpoint, this.#choose(endpoint, speaking)]))
    const observations = [...speaking].flatMap(node => this.#observationsOf(node))
    const none: ReadonlySet<string> = new Set()
    const usersOf = (endpoint: string) => chosen.get(endpoint)?.users ?? none
    const excluded = judge({ observations, usersOf, nodeOf, speaking, silent }, this.#exclusions, time)
    const asked = Map.groupBy(
      [...chosen].flatMap(([endpoint, { asked }]) => asked.map(node => ({ endpoint, node }))),
      ({ node }) => node,
    )
    const before = JSON.stringify([this.#exclusions, [...this.#asked]])
    this.#exclusions = excluded
    this.#asked = new Map([...asked].map(([node, of]) => [node, of.map(({ endpoint }) => endpoint)]))
    return before !== JSON.stringify([this.#exclusions, [...this.#asked]])
  }

  /** Endpoints that some node finds failing. */
  #suspects(speaking: ReadonlySet<string>): ReadonlySet<string> {
    const suspects = new Set<string>()
    for (const node of speaking) {
      for (const { endpoint, seen } of this.#agents.get(node)!.sights.values()) {
        if (seen !== 'answers' && seen !== 'not used') suspects.add(endpoint)
      }
    }
    return suspects
  }

  /**
   * Chooses whom to ask, by the names alone, so that each replica chooses alike, and nobody chooses who is asked. Who has
   * said that it does not use the endpoint is asked on, beside the others: it may use it by now, and forgets what it is
   * not asked.
   */
  #choose(endpoint: string, speaking: ReadonlySet<string>): Chosen {
    const rankOf = (node: string) => createHash('sha1').update(`${endpoint} ${node}`).digest('hex')
    const ranked = [...speaking].map(node => ({ node, rank: rankOf(node) })).sort((a, b) => (a.rank < b.rank ? -1 : 1))
    const asked: string[] = []
    const users = new Set<string>()
    for (const { node } of ranked) {
      if (users.size === mostAsked) break
      asked.push(node)
      if (this.#agents.get(node)!.sights.get(endpoint)?.seen !== 'not used') users.add(node)
    }
    return { asked, users }
  }

  #observationsOf(node: string): readonly Observation[] {
    return [...this.#agents.get(node)!.sights.values()].flatMap(({ endpoint, seen, since }) =>
      seen === 'suspected' || seen === 'not used' ? [] : { node, endpoint, seen, since },
    )
  }
}
