/**
 * Collects what nodes see of endpoints, asks the others about them, and has it judged. As long as nobody suspects an
 * endpoint, nobody is asked and nothing is sent. No I/O: whoever holds the streams passes the time.
 */

import { isDeepStrictEqual } from 'node:util'
import { changesBetween, type Exclusion } from '../../exclusions/exclusion.ts'
import { type Evidence, judge } from '../../exclusions/judge.ts'
import type { NodeReport, Verdict } from '../../facts/failures.ts'
import { Agents } from './agents.ts'
import type { Question } from './question.ts'
import { nodeGroup, Questions } from './questions.ts'
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

/** How many endpoints a node may speak of: as many as are on two nodes, and as many that it is asked about and does not use. */
const mostSights = 512
const longestEndpoint = '[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535'.length

export class Failures {
  readonly times: FailureTimes
  readonly #agents = new Agents()
  readonly #questions: Questions
  readonly #byGroup = new Map<string, readonly Exclusion[]>()
  #began: number | undefined
  #exclusions: readonly Exclusion[] = []

  constructor(ready: Pick<ReadyEndpoints, 'find' | 'revision'>, times: FailureTimes = usualTimes) {
    this.#questions = new Questions(ready)
    this.times = times
  }

  /** The same array until something changes. */
  get exclusions(): readonly Exclusion[] {
    return this.#exclusions
  }

  /** Whether agents are to hear verdicts, and to answer. */
  get isInQuestion(): boolean {
    return !this.#questions.isEmpty || this.#exclusions.length > 0
  }

  /** @param now by performance.now() */
  report({ node, sights }: NodeReport, now: number): void {
    this.#began ??= now
    const known = sights.filter(({ endpoint }) => endpoint.length <= longestEndpoint).slice(0, mostSights)
    this.#questions.hear(node, new Map(known.map(sight => [sight.endpoint, sight])))
    if (this.#agents.spoke(node)) this.#questions.touchAll()
  }

  /** Its stream has ended: a node that is gone has no part any more, and no voice. */
  left(node: string): void {
    this.#agents.left(node)
    this.#questions.left(node)
    this.#questions.touchAll()
  }

  /** Undefined until nodes had time to say what they see. */
  settled(now: number): readonly Exclusion[] | undefined {
    const isSettled = this.#began !== undefined && now - this.#began >= this.times.settleMs
    return isSettled ? this.#exclusions : undefined
  }

  /** Returns what the node is to be told now, which it has to answer. */
  verdictFor(node: string, now: number): Verdict {
    this.#agents.told(node, now)
    return { exclusions: this.settled(now), validMs: this.times.validMs, asked: this.#questions.askedOf(node) }
  }

  /**
   * Judges again what has changed.
   * @param now by performance.now()
   * @param time milliseconds since the epoch
   * @returns whether agents have to hear of it
   */
  review(now: number, time: number): boolean {
    if (this.#agents.silence(now - this.times.answerMs)) this.#questions.touchAll()
    const { speaking, silent } = this.#agents
    const { groups, isAskedChanged } = this.#questions.update(speaking)
    // Where the judge is cut off nothing changes; it is made up for once it is not.
    if (groups.size === 0 || silent.size > speaking.size) return isAskedChanged
    const questions = [...groups].flatMap(name => [...this.#questions.group(name)])
    const judged = judge(evidenceOf(questions, speaking, silent), this.#exclusions, time)
    const areChanged = this.#replace(groups, judged)
    this.#questions.judged()
    return isAskedChanged || areChanged
  }

  /** @returns whether something is excluded that was not, or no longer: on whose word can wait until nodes are asked again */
  #replace(groups: ReadonlySet<string>, judged: readonly Exclusion[]): boolean {
    const groupOf = ({ of, name }: Exclusion) => (of === 'node' ? nodeGroup(name) : this.#questions.groupOf(name))
    const after = Map.groupBy(judged, groupOf)
    const changed = [...groups].filter(name => !isDeepStrictEqual(this.#byGroup.get(name), after.get(name)))
    if (changed.length === 0) return false
    for (const name of changed) {
      const exclusions = after.get(name)
      if (exclusions) this.#byGroup.set(name, exclusions)
      else this.#byGroup.delete(name)
    }
    const before = this.#exclusions
    this.#exclusions = [...this.#byGroup.values()].flat()
    const { begun, ended } = changesBetween(before, this.#exclusions)
    return begun.length + ended.length > 0
  }
}

function evidenceOf(
  questions: readonly Question[],
  speaking: ReadonlySet<string>,
  silent: ReadonlySet<string>,
): Evidence {
  const byEndpoint = new Map(questions.map(question => [question.endpoint, question]))
  return {
    observations: questions.flatMap(question => question.observations()),
    usersOf: endpoint => byEndpoint.get(endpoint)!.chosen.users,
    nodeOf: new Map(questions.map(({ endpoint, node }) => [endpoint, node])),
    ...{ speaking, silent },
  }
}
