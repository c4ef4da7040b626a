/** Finds how two proxies treat the same frontends differently. */

import type { Client, Way, Ways } from './ways.ts'

/** A text, or a list of which only what the other lacks is of interest. */
export type Aspect = string | readonly string[]

export interface Difference {
  /** `namespace/name` */
  readonly service: string
  readonly port: string
  /** The frontend, by `keyOfPlace`. */
  readonly way: string
  readonly what: string
  readonly found: Aspect
  readonly expected: Aspect
}

/** Lists differences in order of Service, frontend and what is different. */
export function compareWays(found: Ways, expected: Ways): readonly Difference[] {
  const differences: Difference[] = []
  for (const [key, way] of expected) differences.push(...compareWay(key, found.get(key), way))
  for (const [key, way] of found) if (!expected.has(key)) differences.push(...compareWay(key, way, undefined))
  return differences.sort((a, b) => compareText(orderOf(a), orderOf(b)))
}

/** Keeps those of `now` that were there `before` too: what is on its way right now is no difference. */
export function lasting(before: readonly Difference[], now: readonly Difference[]): readonly Difference[] {
  const known = new Set(before.map(difference => JSON.stringify(difference)))
  return now.filter(difference => known.has(JSON.stringify(difference)))
}

function compareWay(key: string, found: Way | undefined, expected: Way | undefined): readonly Difference[] {
  const { service, port } = (expected ?? found)!
  const difference = (what: string, there: Aspect, wanted: Aspect) => ({
    ...{ service, port, way: key, what, found: there, expected: wanted },
  })
  if (!found || !expected) return [difference('the way in', summary(found), summary(expected))]
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

function sameAsOutside({ endpoints }: Way, client: Client): boolean {
  return String(endpoints[client]) === String(endpoints.outside)
}

function summary(way: Way | undefined): string {
  if (!way) return 'none'
  const count = new Set(Object.values(way.endpoints).flat()).size
  return count === 0 && way.otherwise ? `no endpoints: ${way.otherwise}` : `${count} endpoints`
}

/** Returns every aspect of a frontend in words. */
function aspectsOf(way: Way): Readonly<Record<string, Aspect>> {
  const { endpoints, otherwise, affinitySeconds, masquerade, hairpin, sources, isClusterIP, oddities, service } = way
  return {
    Service: service,
    endpoints: endpoints.outside,
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

function orderOf({ service, way, what }: Difference): string {
  return `${service} ${way} ${what}`
}

function compareText(a: string, b: string): number {
  if (a === b) return 0
  return a < b ? -1 : 1
}
