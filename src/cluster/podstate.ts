/** What the API server says of a pod that is to print something and end. */

import { type Raw, rawList, rawObject } from '../text/raw.ts'

/** `waits`: goes on, and why it is not further; `failed`: it will print nothing. */
export type PodState = { readonly is: 'ended' } | { readonly is: 'waits' | 'failed'; readonly why: string }

/** Of these a container does not start by itself, or not soon. */
const hopeless = /^(ErrImage|ImagePull|InvalidImage|ImageInspectError|CreateContainer|RunContainerError|StartError)/

export function stateOf(pod: Raw): PodState {
  const { phase, containerStatuses, message } = rawObject(pod.status)
  const { waiting, terminated } = rawObject(rawObject(rawList(containerStatuses)[0]).state)
  const at = rawObject(waiting ?? terminated)
  const text = [at.reason, at.message ?? message].filter(part => typeof part === 'string').join(': ')
  // Its exit code says whether checks fail; a container that never ran has no code of ours.
  if (hopeless.test(text)) return { is: 'failed', why: text }
  if (terminated !== undefined) return { is: 'ended' }
  if (phase === 'Failed' || phase === 'Succeeded') return { is: 'failed', why: text || 'its pod has ended' }
  return { is: 'waits', why: text || `its pod is ${String(phase ?? 'Pending')}` }
}
