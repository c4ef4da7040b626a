/**
 * Judges by what many nodes see which endpoints and nodes are dead. It says what is true of them, not what follows:
 * each node leaves out no more of a Service than `leftOut` (share.ts) lets it. No I/O and no clock.
 *
 * - An endpoint is dead when several nodes cannot reach it, and these are more than half of those that use it; or when
 *   the only one that uses it cannot, and the endpoint's own node is silent. Who has said nothing yet counts as one that
 *   reaches it; a silent node does not count.
 * - A node is dead when it is silent, and connections to endpoints on it time out for as many. So nobody can have a node
 *   excluded by endpoints that do not answer.
 * - Where more nodes are silent than speak, it is the judge that is cut off, or was busy: nothing changes.
 * - It stays excluded until as many no longer say so: several nodes that are half of those that say what they see, or
 *   the only one that does, while the endpoint's own node is silent. Who has said nothing yet ends nothing: an agent that
 *   has just come answers a moment later.
 */

import type { Exclusion } from './exclusion.ts'
import { isUnreachable, type Observation } from './observation.ts'

export interface Evidence {
  readonly observations: readonly Observation[]
  /** The nodes that use an endpoint, and were asked about it. */
  readonly usersOf: (endpoint: string) => ReadonlySet<string>
  /** The endpoints that Kubernetes says are ready, each with its node where that is known. */
  readonly nodeOf: ReadonlyMap<string, string | undefined>
  /** Nodes whose agents answer. */
  readonly speaking: ReadonlySet<string>
  /** Nodes whose agents do not answer, though their connections have not ended. */
  readonly silent: ReadonlySet<string>
}

/** What the users of an endpoint, or of the endpoints on a node, say. */
interface Ballot {
  readonly users: ReadonlySet<string>
  /** What users have seen. */
  readonly seen: readonly Observation[]
  readonly failing: readonly Observation[]
  readonly isSilent: boolean
}

/**
 * @param before what was excluded until now
 * @param now milliseconds since the epoch
 */
export function judge(evidence: Evidence, before: readonly Exclusion[], now: number): readonly Exclusion[] {
  const { observations, nodeOf, speaking, silent } = evidence
  if (silent.size > speaking.size) return before
  const known = new Map(before.map(one => [`${one.of} ${one.name}`, one]))
  const heard = observations.filter(({ node, endpoint }) => speaking.has(node) && nodeOf.has(endpoint))

  const verdict = (of: Exclusion['of'], name: string, ballot: Ballot): Exclusion | undefined => {
    const one = known.get(`${of} ${name}`)
    const holds = one ? isStillDead(ballot) : isDead(ballot)
    if (!holds) return undefined
    return {
      of,
      name,
      failure: one?.failure ?? (ballot.failing.every(({ seen }) => seen === 'refused') ? 'refused' : 'timed out'),
      since: one?.since ?? now,
      by: [...nodesOf(ballot.failing)].sort(),
      isSilent: ballot.isSilent,
    }
  }

  const ofNodes = [...Map.groupBy(heard, ({ endpoint }) => nodeOf.get(endpoint))].map(
    ([node, seen]) => node && verdict('node', node, ballotOnNode(node, seen, evidence)),
  )
  const nodes = ofNodes.filter(one => typeof one === 'object')
  const dead = new Set<string | undefined>(nodes.map(({ name }) => name))
  const endpoints = [...Map.groupBy(heard, ({ endpoint }) => endpoint)]
    .filter(([endpoint]) => !dead.has(nodeOf.get(endpoint)))
    .map(([endpoint, seen]) => verdict('endpoint', endpoint, ballotOn(endpoint, seen, evidence)))
  return [...nodes, ...endpoints.filter(one => one !== undefined)]
}

function ballotOn(endpoint: string, seen: readonly Observation[], evidence: Evidence): Ballot {
  const { nodeOf, silent, speaking } = evidence
  const users = new Set([...evidence.usersOf(endpoint)].filter(user => speaking.has(user)))
  const said = seen.filter(one => users.has(one.node))
  const failing = said.filter(one => isUnreachable(one.seen))
  const node = nodeOf.get(endpoint)
  return { users, seen: said, failing, isSilent: node !== undefined && silent.has(node) }
}

function ballotOnNode(node: string, seen: readonly Observation[], { usersOf, silent, speaking }: Evidence): Ballot {
  const endpoints = new Set(seen.map(({ endpoint }) => endpoint))
  const asked = [...endpoints].flatMap(endpoint => [...usersOf(endpoint)])
  const users = new Set(asked.filter(user => speaking.has(user)))
  const said = seen.filter(one => usersOf(one.endpoint).has(one.node))
  // A refusal comes from a node that lives.
  const reaching = new Set(said.filter(one => one.seen !== 'timed out').map(one => one.node))
  const isSilent = silent.has(node)
  return { users, seen: said, failing: isSilent ? said.filter(one => !reaching.has(one.node)) : [], isSilent }
}

function isDead({ users, failing, isSilent }: Ballot): boolean {
  const say = nodesOf(failing).size
  return say > 1 ? 2 * say > users.size : say === 1 && users.size === 1 && isSilent
}

function isStillDead({ seen, failing, isSilent }: Ballot): boolean {
  const say = nodesOf(failing).size
  const all = nodesOf(seen).size
  return say > 1 ? 2 * say >= all : say === 1 && all === 1 && isSilent
}

function nodesOf(seen: readonly Observation[]): ReadonlySet<string> {
  return new Set(seen.map(({ node }) => node))
}
