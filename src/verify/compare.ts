/** Finds how two proxies treat the same frontends differently. */

import { compareText } from '../text/compare.ts'
import type { Client, Frontend, Frontends } from './frontends.ts'

/** A text, or a list of which only what the other lacks is of interest. */
export type Aspect = string | readonly string[]

export interface Difference {
  /** `namespace/name` */
  readonly service: string
  readonly port: string
  /** The frontend, by `keyOfPlace`. */
  readonly frontend: string
  readonly what: string
  readonly found: Aspect
  readonly expected: Aspect
}

/** Lists differences in order of Service, frontend and what is different. */
export function compareFrontends(found: Frontends, expected: Frontends): readonly Difference[] {
  const differences: Difference[] = []
  for (const [key, frontend] of expected) differences.push(...compareFrontend(key, found.get(key), frontend))
  for (const [key, frontend] of found)
    if (!expected.has(key)) differences.push(...compareFrontend(key, frontend, undefined))
  return differences.sort((a, b) => compareText(orderOf(a), orderOf(b)))
}

/** Keeps those of `now` that were there `before` too: what is on its way right now is no difference. */
export function lasting(before: readonly Difference[], now: readonly Difference[]): readonly Difference[] {
  const known = new Set(before.map(difference => JSON.stringify(difference)))
  return now.filter(difference => known.has(JSON.stringify(difference)))
}

function compareFrontend(
  key: string,
  found: Frontend | undefined,
  expected: Frontend | undefined,
): readonly Difference[] {
  const { service, port } = (expected ?? found)!
  const difference = (what: string, there: Aspect, wanted: Aspect) => ({
    ...{ service, port, frontend: key, what, found: there, expected: wanted },
  })
  if (!found || !expected) return [difference('the frontend', summary(found), summary(expected))]
  const [there, wanted] = [aspectsOf(found), aspectsOf(expected)]
  const isTold = (what: string) => {
    const client = clients[what]
    // One endpoint too many is one difference, not one for each kind of client.
    if (client) return !(sameAsOutside(found, client) && sameAsOutside(expected, client))
    if (what === clusterIP) return found.isClusterIP !== undefined
    return what !== 'Service' || found.service !== ''
  }
  const different = Object.keys(wanted).filter(what => String(there[what]) !== String(wanted[what]))
  return different.filter(isTold).map(what => difference(what, there[what]!, wanted[what]!))
}

const clusterIP = 'address is a cluster IP'
const clients: Readonly<Record<string, Client>> = { 'endpoints for pods': 'pods', 'endpoints for the node': 'node' }

function sameAsOutside({ endpoints }: Frontend, client: Client): boolean {
  return String(endpoints[client]) === String(endpoints.external)
}

function summary(frontend: Frontend | undefined): string {
  if (!frontend) return 'none'
  const count = new Set(Object.values(frontend.endpoints).flat()).size
  return count === 0 && frontend.otherwise ? `no endpoints: ${frontend.otherwise}` : `${count} endpoints`
}

/** Returns every aspect of a frontend in words. */
function aspectsOf(frontend: Frontend): Readonly<Record<string, Aspect>> {
  const { endpoints, otherwise, affinitySeconds, masquerade, hairpin, sources, isClusterIP, oddities, service } =
    frontend
  return {
    Service: service,
    endpoints: endpoints.external,
    'endpoints for pods': endpoints.pods,
    'endpoints for the node': endpoints.node,
    'without endpoints': otherwise ?? 'nothing',
    'session affinity': affinitySeconds === undefined ? 'none' : `${affinitySeconds} s`,
    'source address replaced': masquerade,
    'replaced towards itself': hairpin,
    'allowed sources': sources ?? 'all',
    [clusterIP]: isClusterIP ? 'yes' : 'no',
    'rules not understood': oddities,
  }
}

function orderOf({ service, frontend, what }: Difference): string {
  return `${service} ${frontend} ${what}`
}
