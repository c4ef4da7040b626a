/** What is wrong with how an agent is served by control planes, as problems. */

import { type Problem, problem } from '../../services/problem.ts'
import type { Replica } from './replicas/addresses.ts'

export interface CutOffSince {
  readonly replica: Replica
  /** When it heard the API server last, in milliseconds since the epoch. */
  readonly seen: number
}

export function unreachable(object: string, reason: string, patienceMs: number): Problem {
  const seconds = Math.round(patienceMs / 1000)
  const remedy = `what is known stays, and after ${seconds} to ${2 * seconds} s the agent watches the API server itself; it is tried again`
  return problem('LP106', object, `no replica answers: ${reason}`, remedy)
}

export function cutOff(object: string, { replica, seen }: CutOffSince): Problem {
  const reason = `${replica.address} has had no word of the API server since ${new Date(seen).toISOString()}`
  return problem(
    'LP107',
    object,
    reason,
    'what it knows is served, and a replica that can read the API server is looked for',
  )
}
