/** Changes at the API server, and when they came to those who read them. */

import { setTimeout as pause } from 'node:timers/promises'
import type { ControlPlane } from '../../lab/control-plane.ts'
import type { Cluster } from '../../lab/generate.ts'
import type { Arrivals } from './fleet.ts'

/** One EndpointSlice of which a pod was replaced. */
export interface Change {
  /** As a control plane names and versions it. */
  readonly key: string
  /** Of the Service port. */
  readonly port: string
  /** When the API server answered, milliseconds since the epoch. */
  readonly at: number
}

interface Answered {
  readonly metadata: { readonly namespace: string; readonly name: string; readonly resourceVersion: string }
}

export async function replaceOne(plane: ControlPlane, cluster: Cluster, number: number): Promise<Change> {
  cluster.change(number, 'replace')
  const slice = cluster.slice(number)
  const { name, namespace } = (slice as Answered).metadata
  const path = `/apis/discovery.k8s.io/v1/namespaces/${namespace}/endpointslices/${name}`
  const { at, text } = await plane.ask('PUT', path, slice)
  const { metadata } = JSON.parse(text) as Answered
  return { key: `${namespace}/${name}@${metadata.resourceVersion}`, port: cluster.portId(number), at }
}

/**
 * So many a second, each when it is due, whatever the API server takes. No Service changes twice, so that nobody can skip a version.
 * @param first number of the Services, from which all others follow
 */
export async function churn(
  plane: ControlPlane,
  cluster: Cluster,
  { rate, seconds, first }: { readonly rate: number; readonly seconds: number; readonly first: number },
): Promise<readonly Change[]> {
  const began = performance.now()
  const changes: Promise<Change>[] = []
  for (let index = 0; index < rate * seconds; index++) {
    await pause(Math.max(0, began + (index * 1000) / rate - performance.now()))
    const change = replaceOne(plane, cluster, (first + index) % cluster.size.services)
    // Whoever waits for all hears of a failure.
    change.catch(() => undefined)
    changes.push(change)
  }
  return Promise.all(changes)
}

/** From the API server's answer, milliseconds: of each change to each agent, and to the last of them. */
export interface Delays {
  readonly each: readonly number[]
  readonly last: readonly number[]
}

/** @throws Error where somebody was not told of a change */
export function delaysOf(changes: readonly Change[], { arrivals }: Arrivals, agents: number): Delays {
  const each = changes.map(({ key, at }) => {
    const { first, after } = arrivals[key] ?? { first: 0, after: [] }
    if (after.length !== agents) throw new Error(`${after.length} of ${agents} agents were told of ${key}`)
    return after.map(ms => first + ms - at)
  })
  return { each: each.flat(), last: each.map(one => Math.max(...one)) }
}
