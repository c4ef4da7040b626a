/**
 * What a node says of an endpoint after one attempt to connect and the next. One that fails is no proof, and neither is one
 * that succeeds after failures: packets get lost, a full backlog has room for a moment, and a server restarts. So an
 * endpoint is said to fail, and to answer again, when two attempts in a row have found it so.
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
    const isSure = doubt === 'fails' || isUnreachable(seen)
    return isSure ? { seen: found } : { seen: 'suspected', doubt: 'fails' }
  }
  return isUnreachable(seen) && doubt !== 'answers' ? { seen, doubt: 'answers' } : { seen: found }
}
