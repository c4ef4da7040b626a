/** What Kubernetes is told of exclusions, as Events on Nodes and on the Pods of endpoints: none where all is well. */

import type { Exclusion } from '../../exclusions/exclusion.ts'
import { whyExcluded } from '../../exclusions/text.ts'
import type { Note } from '../../services/note.ts'

/**
 * @param podOf finds the Pod of an endpoint, `namespace/name`; one without gets no Event
 */
export function notesOf(
  begun: readonly Exclusion[],
  ended: readonly Exclusion[],
  podOf: (endpoint: string) => string | undefined,
): readonly Note[] {
  const noteOf = ({ of, name }: Exclusion, rest: Omit<Note, 'object'>): readonly Note[] => {
    if (of === 'node') return [{ object: `Node ${name}`, ...rest }]
    const pod = podOf(name)
    return pod === undefined ? [] : [{ object: `Pod ${pod}`, ...rest }]
  }
  const what = ({ of, name }: Exclusion) => (of === 'node' ? 'endpoints on it get' : `${name} gets`)
  return [
    ...begun.flatMap(one =>
      noteOf(one, {
        type: 'Warning',
        reason: 'Excluded',
        message: `${what(one)} no new connections where there are others: ${whyExcluded(one)}`,
      }),
    ),
    ...ended.flatMap(one =>
      noteOf(one, { type: 'Normal', reason: 'ExclusionEnded', message: `${what(one)} new connections again` }),
    ),
  ]
}
