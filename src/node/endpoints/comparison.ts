/**
 * Finds the endpoint that does worse than its siblings. Errors in a row do not show it: one client's bad requests fail
 * at every endpoint alike.
 */

import type { EndpointLoad } from '../../envoy/program/admin.ts'

/** Both counted over the same time. */
export type Failures = Pick<EndpointLoad, 'requests' | 'errors'>

/** The probability that chance gave an endpoint so many of the errors: one in 100,000. */
const chance = Math.log(1e5)
/** How many times the others' share of errors an endpoint's share has to be. */
const timesWorse = 4

/**
 * @param loads all endpoints that get requests of the same kind, balanced one by one
 * @param leastShare least share of an endpoint's requests that fail, 0 to 1
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
 * Computes the divergence (Kullback and Leibler) of a coin that falls on one side with probability `seen` from one with
 * `expected`. N times this is the least -log of the probability that N throws of the second look like the first
 * (Chernoff's bound).
 */
function divergence(seen: number, expected: number): number {
  const part = (a: number, b: number) => (a === 0 ? 0 : a * Math.log(a / b))
  return part(seen, expected) + part(1 - seen, 1 - expected)
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0)
}
