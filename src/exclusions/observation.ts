/** What one node sees of one endpoint. */

/** How connections and requests to an endpoint fail. */
export type Failure = 'timed out' | 'refused' | 'reset' | 'gateway error' | 'slow'

export interface Observation {
  /** The node that sees it. */
  readonly node: string
  /** Address and port (TCP), as `hostPort` writes them. */
  readonly endpoint: string
  readonly seen: Failure | 'answers'
  /** Milliseconds since the epoch, by the node's clock. */
  readonly since: number
}

/**
 * Whether an endpoint that fails so can be reached by nobody. The others are about requests: an overloaded endpoint
 * resets, fails and is slow, and to leave it out would overload the next one. Envoy judges these by itself.
 */
export function isUnreachable(seen: string | undefined): seen is Unreachable {
  return seen === 'timed out' || seen === 'refused'
}

export type Unreachable = Extract<Failure, 'timed out' | 'refused'>
