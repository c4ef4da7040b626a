/**
 * Chooses the endpoint subset that this node's Envoy has of a port with many: a random part, another one on each node,
 * so that over all nodes each endpoint is in an even share of them. The kernel layer has all.
 *
 * It uses rendezvous hashing (Thaler and Ravishankar, 1998): each endpoint has a score by its address and the node's
 * name, and the lowest are taken. So a restart changes nothing, and an endpoint that comes or goes changes one of the
 * subset at most. Traffic policy and zones have chosen before.
 */

import { compareEndpoints, type Endpoint } from '../../../plan/ports/port.ts'
import type { Frontend } from '../frontend.ts'

export interface SubsetOptions {
  /** 0: all. */
  readonly endpointsPerPort: number
  readonly nodeName: string
}

/** What a subset was chosen from. */
interface Chosen {
  readonly all: readonly Endpoint[]
  readonly scores: Uint32Array
  /** The highest score in the subset. */
  readonly highest: number
}

export class EndpointSubsets {
  readonly #most: number
  readonly #seed: number
  /** By the subset. */
  readonly #chosen = new WeakMap<readonly Endpoint[], Chosen>()

  constructor({ endpointsPerPort, nodeName }: SubsetOptions) {
    this.#most = endpointsPerPort
    this.#seed = mix(hash(nodeName, 0))
  }

  /** @param before the subset until now: the same list is returned if nothing of it changed */
  of(frontend: Frontend, before: Frontend | undefined): Frontend {
    const endpoints = this.subsetOf(frontend.endpoints, before?.endpoints)
    const spillOver = frontend.spillOver && this.subsetOf(frontend.spillOver, before?.spillOver)
    return endpoints === frontend.endpoints && spillOver === frontend.spillOver
      ? frontend
      : { ...frontend, endpoints, spillOver }
  }

  /** @param known a subset of the endpoints as they were */
  subsetOf(all: readonly Endpoint[], known: readonly Endpoint[] = []): readonly Endpoint[] {
    if (this.#most === 0 || all.length <= this.#most) return all
    const before = this.#chosen.get(known)
    if (before?.all === all) return known
    const { scores, isSame } = this.#scoresOf(all, before)
    if (before && isSame) {
      this.#chosen.set(known, { ...before, all, scores })
      return known
    }
    const { subset, highest } = choose(all, scores, this.#most)
    const chosen = haveSameAddresses(known, subset) ? known : subset
    this.#chosen.set(chosen, { all, scores, highest })
    return chosen
  }

  /** Scores of endpoints that stay are taken over. Also says whether none that came or went belongs to the subset. */
  #scoresOf(all: readonly Endpoint[], before: Chosen | undefined) {
    const { all: known, scores: knownScores, highest } = before ?? nothingChosen
    const scores = new Uint32Array(all.length)
    let [at, isSame] = [0, true]
    const pass = (until: Endpoint | undefined) => {
      while (at < known.length && (!until || compareEndpoints(known[at]!, until) < 0)) {
        if (knownScores[at++]! <= highest) isSame = false
      }
    }
    for (let index = 0; index < all.length; index++) {
      const endpoint = all[index]!
      if (known[at] !== endpoint) pass(endpoint)
      const other = known[at]
      if (other && (other === endpoint || compareEndpoints(other, endpoint) === 0)) {
        scores[index] = knownScores[at++]!
      } else {
        scores[index] = this.#scoreOf(endpoint)
        if (scores[index]! <= highest) isSame = false
      }
    }
    pass(undefined)
    return { scores, isSame }
  }

  #scoreOf({ ip, port }: Endpoint): number {
    return mix(hash(`${ip} ${port}`, this.#seed))
  }
}

const nothingChosen: Chosen = { all: [], scores: new Uint32Array(), highest: 0 }

/** Takes the lowest scores. Of two with the same the first is taken. */
function choose(all: readonly Endpoint[], scores: Uint32Array, most: number) {
  const inOrder = scores.toSorted()
  const highest = inOrder[most - 1]!
  let left = most - inOrder.indexOf(highest)
  const subset: Endpoint[] = []
  for (let index = 0; index < all.length; index++) {
    const score = scores[index]!
    if (score < highest || (score === highest && left-- > 0)) subset.push(all[index]!)
  }
  return { subset, highest }
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
