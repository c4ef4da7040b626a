/**
 * What a node says of an endpoint after one attempt to connect and the next. One that is refused is no proof, and neither is
 * one that succeeds after failures: a server restarts, and a full backlog has room for a moment. So an endpoint is said to
 * refuse, and to answer again, when two attempts in a row have found it so. Silence takes no second one: it was asked
 * four times (connecting.ts).
 */

import { isUnreachable } from '../../exclusions/observation.ts'
import type { Sight } from '../../facts/failures.ts'
import type { Reached } from './connecting.ts'

export interface Impression {
  /** Undefined where the node has nothing to say. */
  readonly seen: Sight['seen'] | undefined
  /** What the last attempt found, where that alone says nothing. */
  readonly doubt?: 'fails' | 'answers'
}

/** @param found undefined where the node cannot tell */
export function impressionAfter({ seen, doubt }: Impression, found: Reached | undefined): Impression {
  if (found === undefined) return { seen: undefined }
  if (isUnreachable(found)) {
    const isSure = found === 'timed out' || doubt === 'fails' || isUnreachable(seen)
    return isSure ? { seen: found } : { seen: 'suspected', doubt: 'fails' }
  }
  return isUnreachable(seen) && doubt !== 'answers' ? { seen, doubt: 'answers' } : { seen: found }
}
