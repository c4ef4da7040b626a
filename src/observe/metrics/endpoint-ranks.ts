/** Sums up the endpoints of a Service port that is balanced by latency. Pure. */

/** What Envoy's module knows of an endpoint. */
export interface Seen {
  /** Estimate, milliseconds until the first byte of an answer; undefined while unknown. */
  readonly ms: number | undefined
  /** The share of its tries that fail, 0 to 1. */
  readonly failing: number
  /** Tries in the last while. */
  readonly requests: number
}

/** The least, the middle one and the greatest of some values, by quantile as Prometheus writes it. */
export interface Ranks {
  readonly 0: number
  readonly 0.5: number
  readonly 1: number
}

/** Returns undefined for no values. */
export function ranksOf(values: readonly number[]): Ranks | undefined {
  if (values.length === 0) return undefined
  const ascending = values.toSorted((a, b) => a - b)
  return { 0: ascending[0]!, 0.5: ascending[Math.floor((ascending.length - 1) / 2)]!, 1: ascending.at(-1)! }
}

/** As in native/latency/ewma.c: endpoints up to so many times as slow as the fastest cost no more. */
const alike = 1.5
/** One that fails in more than this part of its tries costs several times as much. */
const failingFrom = 0.25

export type State = 'even' | 'slow' | 'failing' | 'unknown'

/** Counts endpoints by state, each in one. */
export function statesOf(endpoints: readonly Seen[]): Readonly<Record<State, number>> {
  const fastest = Math.min(...endpoints.flatMap(({ ms }) => ms ?? []))
  const counts = { even: 0, slow: 0, failing: 0, unknown: 0 }
  for (const { ms, failing } of endpoints) {
    const isSlow = ms !== undefined && ms > alike * fastest
    counts[failing > failingFrom ? 'failing' : ms === undefined ? 'unknown' : isSlow ? 'slow' : 'even']++
  }
  return counts
}
