/** Writes the condition of a Pod that says whether it can be reached. */

import type { Ask } from '../../cluster/api.ts'
import type { Exclusion } from '../../exclusions/exclusion.ts'
import { describeExclusion } from '../../exclusions/text.ts'
import { reachable } from '../../services/labels.ts'
import { printable } from '../../text/printable.ts'
import { type Raw, rawList, rawObject } from '../../text/raw.ts'
import type { Wanted } from './wanted.ts'

/** As in a kubelet's own word on it. */
const notReady = {
  reason: 'ReadinessGatesNotReady',
  message: `the status of pod readiness gate "${reachable}" is not "True", but False`,
}
/** The limit of a condition's message in most of Kubernetes. */
const longestMessage = 1024

/**
 * Writes a Pod's condition; nothing where it says so already, as a missing one does of a Pod that can be reached, unless a
 * gate waits for it. Nothing either where the Pod is gone. Rejects where it cannot.
 */
export type WriteCondition = (wanted: Wanted) => Promise<void>

export function conditionWriter(ask: Ask): WriteCondition {
  return async ({ pod, exclusion }) => {
    const [namespace, name] = pod.split('/')
    const at = `/api/v1/namespaces/${namespace}/pods`
    // By a list of one, which takes no further right.
    const { items } = await ask('GET', `${at}?fieldSelector=${encodeURIComponent(`metadata.name=${name}`)}`)
    const [found] = rawList(items).map(rawObject)
    const change = found && changeOf(found, exclusion, new Date())
    if (!change) return
    // Whatever was written meanwhile, by the kubelet or to another Pod of the name, has this tried again.
    const { resourceVersion } = rawObject(found.metadata)
    await ask('PATCH', `${at}/${name}/status`, [
      { op: 'test', path: '/metadata/resourceVersion', value: resourceVersion },
      ...change,
    ])
  }
}

/**
 * Returns a JSON patch of the Pod's status. One with the gate becomes not ready at once: a kubelet that is cut off from the
 * API server could not say so, and one that is not says the same. Whether it is ready again is for the kubelet to say.
 */
function changeOf(pod: Raw, exclusion: Exclusion | undefined, now: Date): readonly Raw[] | undefined {
  const conditions = rawList(rawObject(pod.status).conditions).map(rawObject)
  const at = (type: string) => conditions.findIndex(condition => condition.type === type)
  const isFalse = (index: number) => conditions[index]?.status === 'False'
  const isGated = hasGate(pod)
  const isAwaited = isGated && at(reachable) < 0
  if (isFalse(at(reachable)) === (exclusion !== undefined) && !isAwaited) return undefined
  const set = (type: string, status: string, why: Raw) => {
    const value = { type, status, ...why, lastTransitionTime: now.toISOString().replace(/\.\d+/, '') }
    const index = at(type)
    if (conditions.length === 0) return { op: 'add', path: '/status/conditions', value: [value] }
    if (index < 0) return { op: 'add', path: '/status/conditions/-', value }
    return { op: 'replace', path: `/status/conditions/${index}`, value }
  }
  if (!exclusion) return [set(reachable, 'True', { reason: 'Reachable' })]
  const why = { reason: 'Excluded', message: printable(describeExclusion(exclusion)).slice(0, longestMessage) }
  const takesReady = isGated && at('Ready') >= 0 && !isFalse(at('Ready'))
  return [set(reachable, 'False', why), ...(takesReady ? [set('Ready', 'False', notReady)] : [])]
}

/** Whether the Pod's condition says that it cannot be reached, or has a gate wait for it. */
export function isHeldBack(pod: Raw): boolean {
  const condition = rawList(rawObject(pod.status).conditions)
    .map(rawObject)
    .find(({ type }) => type === reachable)
  return condition ? condition.status === 'False' : hasGate(pod)
}

function hasGate({ spec }: Raw): boolean {
  return rawList(rawObject(spec).readinessGates).some(gate => rawObject(gate).conditionType === reachable)
}
