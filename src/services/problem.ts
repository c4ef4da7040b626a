/**
 * A problem is something wrong with what a user gave us. It never stops the rest: it is reported with its object and
 * remedy.
 */

import { clipped, printable } from '../text/printable.ts'

export interface Problem {
  /** A stable code a user can search for; docs/errors.md has cause and remedy of each. */
  readonly code: ProblemCode
  /** Kind and name of the object, such as `Service whoami/whoami`, or a file with its line. */
  readonly object: string
  /** What is wrong, with the key and value where there are any. */
  readonly reason: string
  /** What applies instead and what to do. */
  readonly remedy: string
}

export type ProblemCode =
  | 'LP101' // manifest cannot be read or parsed
  | 'LP102' // object without the fields that it needs
  | 'LP103' // object defined twice
  | 'LP104' // source directory missing or unreadable
  | 'LP105' // Kubernetes API: not reachable or access denied
  | 'LP106' // no control plane answers
  | 'LP107' // control plane cut off from the Kubernetes API
  | 'LP201' // annotation: unknown key
  | 'LP202' // annotation: value does not parse
  | 'LP203' // annotation: names a port that the Service does not have
  | 'LP204' // setting has no effect here
  | 'LP205' // more ports than Envoy takes of a Service or namespace
  | 'LP206' // port speaks something else than its name says
  | 'LP211' // VIP:port already taken by another Service
  | 'LP212' // Service port invalid
  | 'LP213' // Service: address, port or range for external traffic invalid
  | 'LP221' // EndpointSlice: address, port or family invalid
  | 'LP222' // endpoint at a port of the agent itself
  | 'LP301' // Envoy rejected a resource (NACK)
  | 'LP302' // Envoy not running, not found or of an unsupported version
  | 'LP303' // Envoy's bootstrap does not fit the agent's configuration
  | 'LP304' // Envoy is short of memory or connections
  | 'LP305' // another process listens on Envoy's port
  | 'LP306' // lines of the access log left out
  | 'LP307' // an Envoy without the module
  | 'LP308' // requests that ended with their client's side
  | 'LP309' // answers that Envoy refuses
  | 'LP401' // nftables refused or is missing
  | 'LP402' // connections of pods do not reach Envoy on this node
  | 'LP403' // a setting of the node's kernel cannot be written
  | 'LP404' // the proxy mode does not serve a Service's external addresses
  | 'LP405' // Node.js cannot call the C library (node:ffi)
  | 'LP406' // rules of others use our marks
  | 'LP407' // chains of others drop what our rules need
  | 'LP408' // the overlay is switched off
  | 'LP501' // a port or socket of the agent is taken
  | 'LP502' // healthCheckNodePort of a Service cannot be opened

/** The length of each part: an Event holds 1024 characters. */
const longestText = 1000
/** How many problems of one object are kept. */
const mostProblems = 10

const noProblems: readonly Problem[] = Object.freeze([])

/**
 * Makes a problem whose texts are printable and bounded: what is quoted of a user's object is escaped, and cut where it
 * is long.
 */
export function problem(code: ProblemCode, object: string, reason: string, remedy: string): Problem {
  const fit = (text: string) => clipped(printable(text), longestText)
  return { code, object: fit(object), reason: fit(reason), remedy: fit(remedy) }
}

/** Prints one line: `LP202 Service whoami/whoami: … .` */
export function formatProblem(p: Problem): string {
  return `${p.code} ${p.object}: ${p.reason}; ${p.remedy}`
}

/**
 * Collects what is wrong with one object, bounded: it may have thousands of broken pieces, all for one reason, and a
 * few of them show it.
 */
export class ProblemList {
  readonly #object: string
  readonly #problems: Problem[] = []
  #more = 0
  #last: (() => Problem) | undefined

  constructor(object: string) {
    this.#object = object
  }

  add(code: ProblemCode, reason: string, remedy: string): void {
    this.addMade(() => problem(code, this.#object, reason, remedy))
  }

  /** @param make is called where the problem is reported: for texts that take time to make */
  addMade(make: () => Problem): void {
    if (this.#problems.length < mostProblems) this.#problems.push(make())
    else {
      this.#more++
      this.#last = make
    }
  }

  /** Returns the first ten, and how many more there are. */
  all(): readonly Problem[] {
    if (this.#problems.length === 0) return noProblems
    if (!this.#last) return this.#problems
    const last = this.#last()
    return [...this.#problems, { ...last, reason: `${this.#more} more such problems, the last: ${last.reason}` }]
  }
}
