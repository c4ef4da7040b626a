/**
 * Decides which of the ports that are meant for Envoy are in it. While all of them fit, all are. Beyond that it takes
 * those that this node has called, the most recently called first; the others wait in the kernel layer, which serves
 * them.
 *
 * Ports move by `step` alone, a few at a time. A port that was called within the last minute gives way to none of its
 * namespace, so that ports which are all in use do not take turns, and to one of another only where that has fewer
 * there: nobody takes all of Envoy by calling many Services of his own. From a namespace that has no more than its own it
 * takes only the room of what was not called for half an hour, so that who calls all of his own again and again does not
 * take the room of who calls less often. Nor does anybody take all of Envoy by saying of his ports that they are always
 * to be there: a namespace has so many of these, and all together half of the room, of which those with most give way.
 */

import { namespaceOf } from '../ports/port.ts'
import { NamespaceShares } from './namespaceshares.ts'

export interface BudgetOptions {
  /** How many ports Envoy takes; Infinity for all. Half of them may be there always. */
  readonly limit: number
  /** Whether the kernel records which ports are called. Where it does not, those that came first stay. */
  readonly followsUse: boolean
}

/** Returns the options of a node whose agent has these flags, and whose kernel tracks use or not. */
export function budgetOptions({
  envoyPorts,
  tracksUse,
}: {
  readonly envoyPorts: number | 'all'
  readonly tracksUse: boolean
}): BudgetOptions {
  return { limit: envoyPorts === 'all' ? Infinity : envoyPorts, followsUse: tracksUse }
}

/** When each port was last called, by id, in milliseconds of any clock, without ports that were not called lately. */
export type Calls = ReadonlyMap<string, number>

/** A port gives way to another that was called at least so much later, in milliseconds. */
export const quietMs = 60e3

/** And to one of another namespace, where that has as many there or more, only after so long. */
export const longQuietMs = 30 * 60e3

/** How many ports a step promotes at most, and how many it demotes. */
export const mostMoves = 25

/** So many ports of a namespace are always in Envoy; further ones are there by their use. */
export const mostAlways = 100

/** Once some have to wait, all are promoted again when they fit into this share of the budget. */
const enough = 0.9

const noCalls: Calls = new Map()

export class EnvoyBudget {
  readonly #limit: number
  readonly #followsUse: boolean
  /** By id, whether they are in Envoy whatever is called. */
  readonly #inside = new Map<string, boolean>()
  readonly #always = new NamespaceShares([])
  readonly #mostAlways: number
  #alwaysCount = 0
  /** In the order in which they came. */
  readonly #waiting = new Set<string>()
  #calls = noCalls
  #latestCall = 0
  #doAllFit = true

  constructor({ limit, followsUse }: BudgetOptions) {
    this.#limit = limit
    this.#mostAlways = Math.ceil(limit / 2)
    this.#followsUse = followsUse
  }

  /** Whether use decides, since not all ports fit. */
  get isByUse(): boolean {
    return this.#followsUse && !this.#doAllFit
  }

  /** Why ports wait, in words for a user. */
  get whyWaiting(): string {
    return this.#followsUse
      ? 'not called on this node of late, and not all ports fit into Envoy (--envoy-ports)'
      : 'not all ports fit into Envoy (--envoy-ports), and others came first'
  }

  /** Whether calls matter: only where there is a limit that they may decide about. */
  get followsUse(): boolean {
    return this.#followsUse && this.#limit !== Infinity
  }

  get limit(): number {
    return this.#limit
  }

  /** The ports that are in Envoy, by id. */
  get inside(): readonly string[] {
    return [...this.#inside.keys()]
  }

  get waiting(): number {
    return this.#waiting.size
  }

  /** Whether the port, which is meant for Envoy, is in it. */
  has(id: string, isForAlways: boolean): boolean {
    const wasAlways = this.#inside.get(id)
    const isAlways = isForAlways && (wasAlways === true || this.#mayBeAlways(id))
    if (wasAlways !== undefined) {
      if (wasAlways !== isAlways) this.#setInside(id, isAlways)
      return true
    }
    const isNew = !this.#waiting.has(id)
    if (isAlways || (isNew && this.#room > 0 && this.#mayEnter(id))) this.#enter(id, isAlways)
    else this.#waiting.add(id)
    this.#judge()
    return this.#inside.has(id)
  }

  /** Removes a port that is not meant for Envoy any more. */
  remove(id: string): void {
    if (this.#deleteInside(id) || this.#waiting.delete(id)) this.#judge()
  }

  /**
   * Begins once all ports are known. Those that a run before this one left in Envoy stay there where use does not say
   * otherwise.
   * @returns the ports that were promoted or demoted
   */
  begin(calls: Calls, before: ReadonlySet<string>): readonly string[] {
    this.#calls = calls
    if (!this.isByUse) return []
    const were = new Set(this.#inside.keys())
    for (const [id, isAlways] of this.#inside) if (!isAlways) this.#leave(id)
    const stay = [...this.#waiting].filter(id => before.has(id))
    const entrants = new Set([...this.#byCall(stay), ...this.#byCall(this.#entrants())])
    for (const id of [...entrants].slice(0, Math.max(0, this.#room))) this.#enter(id, false)
    return [...[...were].filter(id => !this.#inside.has(id)), ...[...this.#inside.keys()].filter(id => !were.has(id))]
  }

  /** @returns the ports that were promoted or demoted */
  step(calls: Calls): readonly string[] {
    this.#calls = calls
    this.#latestCall = [...calls.values()].reduce((latest, at) => Math.max(latest, at), 0)
    const entrants = this.#byCall(this.#entrants())
    const leaving = this.#leavers()
    for (const id of leaving) this.#leave(id)
    const entering: string[] = []
    const oldestFirst = entrants.length > 0 ? this.#oldestFirst() : []
    const shares = new NamespaceShares(oldestFirst)
    // Where nothing gives way to a port, nothing does to another of its namespace that was called earlier.
    const stuck = new Set<string>()
    for (const id of entrants) {
      if (entering.length === mostMoves) break
      if (this.#room <= 0) {
        if (leaving.length >= mostMoves || stuck.has(namespaceOf(id))) continue
        const other = this.#whoGivesWay(id, oldestFirst, shares)
        if (other === undefined) {
          stuck.add(namespaceOf(id))
          continue
        }
        oldestFirst.splice(oldestFirst.indexOf(other), 1)
        shares.add(other, -1)
        this.#leave(other)
        leaving.push(other)
      }
      shares.add(id, 1)
      this.#enter(id, false)
      entering.push(id)
    }
    return [...leaving, ...entering]
  }

  /**
   * Chooses the port that was called longest ago, if that is long ago; else one of the namespace that has most, if its
   * own has fewer and will not have to give that back at once.
   */
  #whoGivesWay(id: string, oldestFirst: readonly string[], shares: NamespaceShares): string | undefined {
    if (!this.isByUse) return undefined
    const own = shares.of(id)
    const at = this.#calledAt(id)
    const quiet = oldestFirst.find(other => {
      const isSoon = shares.of(other) > own || namespaceOf(other) === namespaceOf(id)
      return this.#calledAt(other) + (isSoon ? quietMs : longQuietMs) <= at
    })
    if (quiet !== undefined) return quiet
    const { namespace, count } = shares.greatest
    if (count <= own + 1 || at + longQuietMs <= this.#latestCall) return undefined
    return oldestFirst.find(other => namespaceOf(other) === namespace)
  }

  /** Where all have their part, the namespace that has most gives one to who has fewer; that one is there by its use. */
  #mayBeAlways(id: string): boolean {
    if (this.#limit === Infinity) return true
    const own = this.#always.of(id)
    if (own >= mostAlways) return false
    if (this.#alwaysCount < this.#mostAlways) return true
    const { namespace, count } = this.#always.greatest
    if (count <= own + 1) return false
    const last = [...this.#inside].findLast(([other, isAlways]) => isAlways && namespaceOf(other) === namespace)
    this.#setInside(last![0], false)
    return true
  }

  /** Lists the ports that are in Envoy though use says otherwise, or though there is no room. */
  #leavers(): string[] {
    if (this.#doAllFit) return []
    const over = -this.#room
    const unused = this.isByUse
      ? [...this.#inside].flatMap(([id, isAlways]) => (isAlways || this.#calls.has(id) ? [] : id))
      : []
    if (unused.length >= mostMoves || over <= unused.length) return unused.slice(0, mostMoves)
    return this.#oldestFirst().slice(0, Math.min(mostMoves, over))
  }

  #entrants(): readonly string[] {
    if (!this.isByUse) return [...this.#waiting]
    return [...this.#calls.keys()].filter(id => this.#waiting.has(id))
  }

  #oldestFirst(): string[] {
    const may = [...this.#inside].flatMap(([id, isAlways]) => (isAlways ? [] : id))
    return this.#byCall(may).reverse()
  }

  #byCall(ids: Iterable<string>): string[] {
    return [...ids].sort((a, b) => this.#calledAt(b) - this.#calledAt(a))
  }

  #mayEnter(id: string): boolean {
    return !this.isByUse || this.#calls.has(id)
  }

  #calledAt(id: string): number {
    return this.#calls.get(id) ?? 0
  }

  #enter(id: string, isAlways: boolean): void {
    this.#waiting.delete(id)
    this.#setInside(id, isAlways)
  }

  #leave(id: string): void {
    this.#deleteInside(id)
    this.#waiting.add(id)
  }

  #setInside(id: string, isAlways: boolean): void {
    this.#deleteInside(id)
    this.#inside.set(id, isAlways)
    if (isAlways) this.#countAlways(id, 1)
  }

  #deleteInside(id: string): boolean {
    if (this.#inside.get(id)) this.#countAlways(id, -1)
    return this.#inside.delete(id)
  }

  #countAlways(id: string, count: number): void {
    this.#always.add(id, count)
    this.#alwaysCount += count
  }

  /** For how many more ports there is room; below 0 where there are too many. */
  get #room(): number {
    return this.#limit - this.#inside.size
  }

  #judge(): void {
    const wanted = this.#inside.size + this.#waiting.size
    if (wanted > this.#limit) this.#doAllFit = false
    else if (wanted <= Math.ceil(this.#limit * enough)) this.#doAllFit = true
  }
}
