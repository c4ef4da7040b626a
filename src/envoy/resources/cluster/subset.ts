/**
 * Chooses the endpoint subset that this node's Envoy has of a port with many: a random part, another one on each node,
 * so that over all nodes each endpoint is in an even share of them. The kernel layer has all.
 *
 * It uses rendezvous hashing (Thaler and Ravishankar, 1998): each endpoint has a score by its address and the node's
 * name, and the lowest are taken. So a restart changes nothing, and an endpoint that comes or goes changes one of the
 * subset at most. Traffic policy and zones have chosen before.
 */

import type { Endpoint } from '../../../plan/ports/port.ts'
import type { Frontend } from '../frontend.ts'

export interface SubsetOptions {
  /** 0: all. */
  readonly endpointsPerPort: number
  readonly nodeName: string
}

/** @param before the subset until now: the same list is returned if nothing of it changed */
export function withSubset(
  frontend: Frontend,
  { endpointsPerPort, nodeName }: SubsetOptions,
  before: Frontend | undefined,
): Frontend {
  const part = <T extends readonly Endpoint[] | undefined>(all: T, known: T) => {
    const some = all && subsetOf(all, endpointsPerPort, nodeName)
    return some && some !== all && known && haveSameAddresses(known, some) ? known : some
  }
  const endpoints = part(frontend.endpoints, before?.endpoints)!
  const spillOver = part(frontend.spillOver, before?.spillOver)
  return endpoints === frontend.endpoints && spillOver === frontend.spillOver
    ? frontend
    : { ...frontend, endpoints, spillOver }
}

function haveSameAddresses(a: readonly Endpoint[], b: readonly Endpoint[]): boolean {
  return a.length === b.length && a.every(({ ip, port }, index) => ip === b[index]!.ip && port === b[index]!.port)
}

/** @param most 0: all */
export function subsetOf(endpoints: readonly Endpoint[], most: number, nodeName: string): readonly Endpoint[] {
  if (most === 0 || endpoints.length <= most) return endpoints
  const seed = mix(hash(nodeName, 0))
  const scores = endpoints.map(({ ip, port }, index) => ({ score: mix(hash(`${ip} ${port}`, seed)), index, ip, port }))
  scores.sort((a, b) => a.score - b.score || a.port - b.port || (a.ip < b.ip ? -1 : 1))
  const taken = scores.slice(0, most).map(({ index }) => index)
  return taken.sort((a, b) => a - b).map(index => endpoints[index]!)
}

/** FNV-1a. */
function hash(text: string, seed: number): number {
  let value = 0x811c9dc5 ^ seed
  for (let index = 0; index < text.length; index++) value = Math.imul(value ^ text.charCodeAt(index), 0x01000193)
  return value >>> 0
}

/** The finalizer of murmur3: addresses that differ in one digit have nothing in common. */
function mix(value: number): number {
  let mixed = Math.imul(value ^ (value >>> 16), 0x85ebca6b)
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35)
  return (mixed ^ (mixed >>> 16)) >>> 0
}
