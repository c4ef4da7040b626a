/**
 * Which endpoint does worse than its siblings. Errors in a row do not tell: one client's bad requests fail wherever they go, and so
 * they do at all endpoints alike.
 */

import type { EndpointLoad } from '../../envoy/program/admin.ts'

/** Of the same time. */
export type Failures = Pick<EndpointLoad, 'requests' | 'errors'>

/** That chance gave an endpoint so many of the errors: one in 100,000. */
const chance = Math.log(1e5)
/** Its share of errors to that of the others. */
const timesWorse = 4

/**
 * @param loads of all endpoints that get requests of the same kind, balanced one by one
 * @param leastShare of its requests that fail, 0 to 1
 * @returns the worst first
 */
export function worseThanSiblings<T extends Failures>(loads: readonly T[], leastShare: number): readonly T[] {
  const requests = sum(loads.map(load => load.requests))
  const errors = sum(loads.map(load => load.errors))
  return loads
    .filter(load => {
      const others = { requests: requests - load.requests, errors: errors - load.errors }
      return (
        load.errors > 0 &&
        shareOf(load) >= leastShare &&
        shareOf(load) >= timesWorse * shareOf(others) &&
        errors * divergence(load.errors / errors, load.requests / requests) >= chance
      )
    })
    .toSorted((a, b) => shareOf(b) - shareOf(a) || b.errors - a.errors)
}

function shareOf({ requests, errors }: Failures): number {
  return requests === 0 ? 0 : errors / requests
}

/**
 * Of a coin that falls on one side with probability `seen` from one with `expected`, both of them shares (Kullback and Leibler).
 * N times this is the least -log of the probability that N throws of the second look like the first (Chernoff's bound).
 */
function divergence(seen: number, expected: number): number {
  const part = (a: number, b: number) => (a === 0 ? 0 : a * Math.log(a / b))
  return part(seen, expected) + part(1 - seen, 1 - expected)
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0)
}
