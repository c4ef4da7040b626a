/** Computes quantiles of a histogram of cumulative buckets. Pure. */

/**
 * As Prometheus' `histogram_quantile`: assumes that values lie evenly within a bucket, and beyond the last bound at it.
 *
 * @param buckets by upper bound in seconds, `+Inf` among them: how many were no more
 * @param q between 0 and 1
 * @returns seconds; undefined where there are none
 */
export function quantile(buckets: Readonly<Record<string, number>>, q: number): number | undefined {
  const total = buckets['+Inf'] ?? 0
  if (total <= 0) return undefined
  const bounds = Object.keys(buckets)
    .filter(bound => bound !== '+Inf')
    .map(Number)
    .sort((a, b) => a - b)
  let [from, below] = [0, 0]
  for (const bound of bounds) {
    const upTo = buckets[String(bound)]!
    if (upTo >= q * total) return upTo > below ? from + ((bound - from) * (q * total - below)) / (upTo - below) : bound
    from = bound
    below = upTo
  }
  return bounds.at(-1)
}
