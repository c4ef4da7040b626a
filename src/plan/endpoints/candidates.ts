/**
 * Lists the endpoints of a Service's slices, from which rules.ts chooses. Of a Service with many it remembers the list:
 * when a slice changes, or a pod, only the addresses that this concerns are looked at again.
 */

import type { EndpointSlice } from '../../services/objects/endpointslice.ts'
import { compareText } from '../../text/compare.ts'
import type { NumberedCandidate } from './endpointlist.ts'
import { type Bar, type NodeTopology, preference } from './rules.ts'

/** Of each slice, the index of the number of the ports that are asked for; undefined where it does not have them. */
type Numbers = readonly (number | undefined)[]

export interface Inputs {
  readonly slices: readonly EndpointSlice[]
  readonly topology: NodeTopology
  /** Undefined: Envoy may connect to all. */
  readonly bar: Bar | undefined
}

/** Lists those with a number, in order of address and number. */
export type ListCandidates = (numbers: Numbers) => readonly NumberedCandidate[]

export function candidatesOf(inputs: Inputs): ListCandidates {
  return numbers => candidatesIn(inputs, numbers)
}

/** Remembers those of one Service, for one node. */
export class RememberedCandidates {
  #inputs: Inputs | undefined
  /** By the numbers of the slices. */
  #lists = new Map<string, readonly NumberedCandidate[]>()
  readonly #rejudged = new Set<string>()

  /** The bar says something else of these addresses. */
  rejudge(addresses: ReadonlySet<string> | 'all'): void {
    if (addresses === 'all') this.#inputs = undefined
    else for (const ip of addresses) this.#rejudged.add(ip)
  }

  /** Lists the candidates of the Service as it is now. */
  of(inputs: Inputs): ListCandidates {
    const [before, known] = [this.#inputs, this.#lists]
    const changed =
      before && (before.bar === undefined) === (inputs.bar === undefined)
        ? new Set([...this.#rejudged, ...changedAddresses(before.slices, inputs.slices)])
        : undefined
    const lists = new Map<string, readonly NumberedCandidate[]>()
    this.#inputs = inputs
    this.#lists = lists
    this.#rejudged.clear()
    return numbers => {
      const key = numbers.join()
      const list = changed && known.get(key)
      const now = list ? changedList(list, inputs, numbers, changed) : candidatesIn(inputs, numbers)
      lists.set(key, now)
      return now
    }
  }
}

/** Returns what is remembered of a Service with these slices, where it has as many endpoints as that. */
export function rememberedOf(
  slices: readonly EndpointSlice[],
  manyEndpoints: number,
  known: RememberedCandidates | undefined,
): RememberedCandidates | undefined {
  const count = slices.reduce((sum, { endpoints }) => sum + endpoints.length, 0)
  return count < manyEndpoints ? undefined : (known ?? new RememberedCandidates())
}

function changedList(
  list: readonly NumberedCandidate[],
  inputs: Inputs,
  numbers: Numbers,
  changed: ReadonlySet<string>,
): readonly NumberedCandidate[] {
  if (changed.size === 0) return list
  if (changed.size > list.length / mostlySame) return candidatesIn(inputs, numbers)
  const again = Map.groupBy(candidatesIn(inputs, numbers, changed), ({ source }) => source.ip)
  const merged = list.slice()
  for (const ip of changed) {
    const start = positionOf(ip, merged)
    let end = start
    while (merged[end]?.source.ip === ip) end++
    merged.splice(start, end - start, ...(again.get(ip) ?? []))
  }
  return merged
}

/** Each changed address moves all behind it. Where more than this part of a list is different, it is made anew. */
const mostlySame = 8

/** Returns where in the list the address is, or would be. */
function positionOf(ip: string, list: readonly NumberedCandidate[]): number {
  let [low, high] = [0, list.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if (compareText(list[middle]!.source.ip, ip) < 0) low = middle + 1
    else high = middle
  }
  return low
}

/** Returns the addresses of endpoints that are not as they were in the slice at the same position. */
function changedAddresses(before: readonly EndpointSlice[], after: readonly EndpointSlice[]): readonly string[] {
  const changed: string[] = []
  for (let index = 0; index < Math.max(before.length, after.length); index++) {
    const [old, now] = [before[index], after[index]]
    if (old !== now) changed.push(...notIn(old, now), ...notIn(now, old))
  }
  return changed
}

/** By name it is decided which of two entries of an endpoint counts: in a slice of another name nothing is as it was. */
function notIn(other: EndpointSlice | undefined, slice: EndpointSlice | undefined): readonly string[] {
  if (!slice) return []
  const others = new Map(other?.name === slice.name ? other.endpoints.map(({ ip, traits }) => [ip, traits]) : [])
  return slice.endpoints.filter(({ ip, traits }) => traits !== others.get(ip)).map(({ ip }) => ip)
}

/**
 * Lists every endpoint of the slices that has a number, once each: while a pod moves between slices it may be in two.
 * @param only of these addresses; undefined: of all
 */
function candidatesIn(
  { slices, topology, bar }: Inputs,
  numbers: Numbers,
  only?: ReadonlySet<string>,
): readonly NumberedCandidate[] {
  const known = new Map<string, NumberedCandidate>()
  // Of two entries that are as good the one in the slice of the first name counts, whichever came first.
  const byName = [...slices.keys()].sort((a, b) => compareText(slices[a]!.name, slices[b]!.name))
  for (const index of byName) {
    const number = numbers[index]
    if (number === undefined) continue
    for (const source of slices[index]!.endpoints) {
      if (only && !only.has(source.ip)) continue
      const key = `${source.ip} ${number}`
      const other = known.get(key)
      if (other && preference(other.source.traits, topology) >= preference(source.traits, topology)) continue
      known.set(key, { source, number, barred: bar?.(source) })
    }
  }
  return [...known.values()].sort(compare)
}

function compare(a: NumberedCandidate, b: NumberedCandidate): number {
  return compareText(a.source.ip, b.source.ip) || a.number - b.number
}
