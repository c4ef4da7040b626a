/** Labels a Pod or Node so that a control plane never excludes it (controlplane/failures/), and takes the label back. */

import { ofHostPort } from '../net/address.ts'
import { labels } from '../services/labels.ts'
import { type Raw, rawObject } from '../text/raw.ts'
import type { Ask } from './api.ts'
import { list } from './list.ts'

export interface Labelled {
  readonly kind: 'Pod' | 'Node'
  /** `namespace/name` of a Pod. */
  readonly name: string
}

const path = `/metadata/labels/${labels.exclusion.replaceAll('~', '~0').replaceAll('/', '~1')}`

/**
 * @param what a Pod (`namespace/name`), an endpoint of one (`hostPort`) or a Node
 * @throws Error where there is none
 */
export async function setStaysIn(ask: Ask, what: string, stays: boolean): Promise<Labelled> {
  const { kind, object, at } = await find(ask, what)
  const { namespace, name, labels: known, resourceVersion } = rawObject(object.metadata)
  const has = rawObject(known)[labels.exclusion] !== undefined
  const change = stays ? [addition(known)] : has ? [{ op: 'remove', path }] : []
  const unchanged = { op: 'test', path: '/metadata/resourceVersion', value: resourceVersion }
  if (change.length > 0) await ask('PATCH', at, [unchanged, ...change])
  return { kind, name: kind === 'Pod' ? `${namespace}/${name}` : String(name) }
}

/** A member can only be added to an object that is there. */
function addition(known: unknown) {
  const value = 'disabled'
  if (typeof known === 'object' && known !== null) return { op: 'add', path, value }
  return { op: 'add', path: '/metadata/labels', value: { [labels.exclusion]: value } }
}

async function find(ask: Ask, what: string): Promise<{ kind: Labelled['kind']; object: Raw; at: string }> {
  const pathOf = (namespace: unknown, name: unknown) => `/api/v1/namespaces/${namespace}/pods/${name}`
  if (what.includes('/')) {
    const [namespace, name] = what.split('/').map(encodeURIComponent)
    const at = pathOf(namespace, name)
    return { kind: 'Pod', object: await ask('GET', at), at }
  }
  const { ip, port } = ofHostPort(what)
  if (Number.isNaN(port) || !what.includes(':')) {
    const at = `/api/v1/nodes/${encodeURIComponent(what)}`
    return { kind: 'Node', object: await ask('GET', at), at }
  }
  const pods = await list(ask, '/api/v1/pods', `fieldSelector=${encodeURIComponent(`status.podIP=${ip}`)}`)
  const [pod, ...others] = pods.filter(({ spec }) => rawObject(spec).hostNetwork !== true)
  if (!pod || others.length > 0) throw new Error(`${pod ? 'several Pods have' : 'no Pod has'} the address ${ip}`)
  const { namespace, name } = rawObject(pod.metadata)
  return { kind: 'Pod', object: pod, at: pathOf(namespace, name) }
}
