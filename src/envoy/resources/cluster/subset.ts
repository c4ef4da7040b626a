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

/** More than a port has endpoints. A score of 32 bits and a position are whole in a number of 53. */
const positions = 2 ** 20

export class EndpointSubsets {
  readonly #most: number
  readonly #seed: number
  /** Of endpoints of ports that have too many: one that stays is the same object. */
  readonly #scores = new WeakMap<Endpoint, number>()

  constructor({ endpointsPerPort, nodeName }: SubsetOptions) {
    this.#most = endpointsPerPort
    this.#seed = mix(hash(nodeName, 0))
  }

  /** @param before the subset until now: the same list is returned if nothing of it changed */
  of(frontend: Frontend, before: Frontend | undefined): Frontend {
    const endpoints = this.#part(frontend.endpoints, before?.endpoints)
    const spillOver = frontend.spillOver && this.#part(frontend.spillOver, before?.spillOver)
    return endpoints === frontend.endpoints && spillOver === frontend.spillOver
      ? frontend
      : { ...frontend, endpoints, spillOver }
  }

  subsetOf(endpoints: readonly Endpoint[]): readonly Endpoint[] {
    if (this.#most === 0 || endpoints.length <= this.#most) return endpoints
    // The position comes after the score: of two with the same score the first is taken.
    const scores = new Float64Array(endpoints.length)
    for (const [index, endpoint] of endpoints.entries()) scores[index] = this.#scoreOf(endpoint) * positions + index
    const highest = scores.toSorted()[this.#most - 1]!
    return endpoints.filter((_, index) => scores[index]! <= highest)
  }

  #part(all: readonly Endpoint[], known: readonly Endpoint[] | undefined): readonly Endpoint[] {
    const some = this.subsetOf(all)
    return some !== all && known && haveSameAddresses(known, some) ? known : some
  }

  #scoreOf(endpoint: Endpoint): number {
    let score = this.#scores.get(endpoint)
    if (score === undefined) {
      score = mix(hash(`${endpoint.ip} ${endpoint.port}`, this.#seed))
      this.#scores.set(endpoint, score)
    }
    return score
  }
}

function haveSameAddresses(a: readonly Endpoint[], b: readonly Endpoint[]): boolean {
  return a.length === b.length && a.every(({ ip, port }, index) => ip === b[index]!.ip && port === b[index]!.port)
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
